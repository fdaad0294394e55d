//! The stacks of all threads of the process except the main one, measured from outside.
//!
//! The kernel reports the stack pointer of a waiting thread in the second last field of `/proc/self/task/TID/syscall`; within one
//! process that needs no permission. The check covers threads of this program, of the engine, of OpenBLAS and of any other library. For
//! the workers of OpenBLAS it is a second measurement, independent of their own reading. The stack of the main thread is the
//! `ulimit -s` of the user, and the main thread never calls BLAS. Threads that have ended are not covered.

use std::io;
use std::time::{Duration, Instant};

use super::blas_workers::{name_of, task_ids};
use super::check::CheckResult;
use super::process_maps::ProcessMaps;
use super::stack_probe::{self, StackPointer};

/// Time for a thread to sleep: an OpenBLAS worker spins for about 0.1 s first, longer on a loaded core.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(20);

/// The check.
pub fn all() -> CheckResult {
    let required = match stack_probe::required_bytes() {
        Ok(required) => required,
        Err(reason) => return CheckResult::not_measured("a build with a stack size", reason),
    };
    let expected =
        format!("every thread except the main one has at least {required} bytes of stack and a guard");
    match measure(required) {
        Ok(threads) => {
            let (pass, found) = evaluate(&threads);
            CheckResult::of(pass, expected, found)
        }
        Err(reason) => CheckResult::not_measured(expected, reason),
    }
}

struct Thread {
    name: String,
    is_sufficient: bool,
    found: String,
}

fn evaluate(threads: &[Thread]) -> (bool, String) {
    let failed: Vec<_> = threads.iter().filter(|thread| !thread.is_sufficient).collect();
    if failed.is_empty() {
        let mut names: Vec<_> = threads.iter().map(|thread| thread.name.as_str()).collect();
        names.sort_unstable();
        (!names.is_empty(), format!("{} threads: {}", names.len(), names.join(", ")))
    } else {
        let lines: Vec<_> =
            failed.iter().map(|thread| format!("`{}`: {}", thread.name, thread.found)).collect();
        (false, lines.join("; "))
    }
}

fn measure(required: u64) -> Result<Vec<Thread>, String> {
    let own = stack_probe::read_own_stack();
    let main = std::process::id() as i32;
    let started = Instant::now();
    let mut threads = Vec::new();
    let tasks = task_ids().map_err(|error| format!("cannot list /proc/self/task: {error}"))?;
    for tid in tasks.into_iter().filter(|tid| *tid != main) {
        let name = name_of(tid);
        let pointer = if tid == own.tid { Some(own.frame) } else { waiting_stack_pointer(tid, started)? };
        let Some(pointer) = pointer else { continue };
        // Read again for each thread: the mapping of a thread that has ended could belong to another one by now.
        let maps = ProcessMaps::read().map_err(|error| format!("cannot read /proc/self/maps: {error}"))?;
        let (is_sufficient, found) = stack_probe::evaluate_mapping(StackPointer(pointer), &maps, required);
        threads.push(Thread { name, is_sufficient, found });
    }
    Ok(threads)
}

/// `None` when the thread has ended.
fn waiting_stack_pointer(tid: i32, started: Instant) -> Result<Option<u64>, String> {
    let file = format!("/proc/self/task/{tid}/syscall");
    loop {
        match std::fs::read_to_string(&file) {
            Ok(text) => {
                if let Some(pointer) = parse_stack_pointer(&text)? {
                    return Ok(Some(pointer));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && task_ended(tid) => return Ok(None),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(format!("cannot read {file}: {error}")),
        }
        if started.elapsed() > SETTLE_TIME_MAX {
            return Err(format!("`{}` did not sleep within {} s", name_of(tid), SETTLE_TIME_MAX.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Distinguishes a thread that has ended from a kernel without the file.
fn task_ended(tid: i32) -> bool {
    !std::path::Path::new(&format!("/proc/self/task/{tid}")).exists()
}

/// `running`; or `NUMBER ARG.. SP PC`; or `-1 SP PC` for a thread that waits outside of a system call.
fn parse_stack_pointer(text: &str) -> Result<Option<u64>, String> {
    let fields: Vec<_> = text.split_ascii_whitespace().collect();
    match fields.as_slice() {
        ["running"] => Ok(None),
        [_, .., pointer, _] => pointer
            .strip_prefix("0x")
            .and_then(|digits| u64::from_str_radix(digits, 16).ok())
            .map(Some)
            .ok_or_else(|| format!("unknown form of /proc/self/task/TID/syscall: {text:?}")),
        _ => Err(format!("unknown form of /proc/self/task/TID/syscall: {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn parses_the_second_last_field() {
        let waiting = "202 0x7f11 0x80 0x0 0x0 0x0 0x0 0x7f1122334400 0x401234\n";
        assert_eq!(parse_stack_pointer(waiting), Ok(Some(0x7f11_2233_4400)));
        assert_eq!(parse_stack_pointer("-1 0x7f00 0x40\n"), Ok(Some(0x7f00)));
        assert_eq!(parse_stack_pointer("running\n"), Ok(None));
        assert!(parse_stack_pointer("").is_err());
        assert!(parse_stack_pointer("1 2 3 4\n").is_err());
    }

    const REQUIRED: usize = 4 << 20;

    /// The result for a waiting thread with this stack.
    fn is_sufficient(name: &str, stack_bytes: usize) -> bool {
        let (stop, stopped) = mpsc::channel::<()>();
        let (start, started) = mpsc::channel();
        // A thread sets its own name, so it has one when its code runs.
        let work = move || (start.send(()), stopped.recv());
        let thread =
            std::thread::Builder::new().name(name.into()).stack_size(stack_bytes).spawn(work).unwrap();
        started.recv().unwrap();
        let threads = measure(REQUIRED as u64).unwrap();
        drop(stop);
        thread.join().unwrap().1.unwrap_err();
        threads.iter().find(|thread| thread.name == name).unwrap().is_sufficient
    }

    #[test]
    fn rejects_a_thread_with_the_default_stack() {
        assert!(is_sufficient("explicit", REQUIRED));
        assert!(!is_sufficient("std-default", 2 << 20));
    }

    #[test]
    fn one_small_stack_fails_the_check_and_no_thread_is_no_pass() {
        let thread = |is_sufficient| Thread { name: "t".into(), is_sufficient, found: "small".into() };
        assert!(evaluate(&[thread(true), thread(true)]).0);
        assert_eq!(evaluate(&[thread(true), thread(false)]), (false, "`t`: small".to_string()));
        assert!(!evaluate(&[]).0);
    }
}
