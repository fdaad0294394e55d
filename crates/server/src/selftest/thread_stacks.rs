//! Every thread of the process but the main one, seen from outside: no stack was left to a default.
//!
//! Whoever started a thread (this program, the engine, OpenBLAS, a library that nobody suspected), the kernel tells where its
//! stack pointer is while it waits: the last field but one of `/proc/self/task/TID/syscall`. Within one process that needs no
//! right. For OpenBLAS's workers this is a second opinion, independent of what they say of themselves. The main thread's stack
//! is the user's `ulimit -s`, and it never calls BLAS. A thread that has already ended is not seen.

use std::io;
use std::time::{Duration, Instant};

use super::Outcome;
use super::blas_workers::{name_of, task_ids};
use super::process_maps::ProcessMaps;
use super::stack_probe::{self, StackPointer};
use crate::build_info::STACK_SIZE_BYTES;

/// An OpenBLAS worker spins about 0.1 s for more work before it sleeps; on a loaded core much longer.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(20);

pub fn all() -> Outcome {
    let expected =
        format!("every thread but the main one has at least {STACK_SIZE_BYTES} bytes of stack and a guard");
    match measure() {
        Ok(threads) => {
            let (pass, found) = judge(&threads);
            Outcome::judge(pass, expected, found)
        }
        Err(why) => Outcome::not_measured(expected, why),
    }
}

struct Thread {
    name: String,
    verdict: bool,
    found: String,
}

fn judge(threads: &[Thread]) -> (bool, String) {
    let failed: Vec<_> = threads.iter().filter(|thread| !thread.verdict).collect();
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

fn measure() -> Result<Vec<Thread>, String> {
    let own = stack_probe::read_own_stack();
    let main = std::process::id() as i32;
    let started = Instant::now();
    let mut threads = Vec::new();
    let tasks = task_ids().map_err(|error| format!("cannot list /proc/self/task: {error}"))?;
    for tid in tasks.into_iter().filter(|tid| *tid != main) {
        let name = name_of(tid);
        let pointer = if tid == own.tid { Some(own.frame) } else { waiting_stack_pointer(tid, started)? };
        let Some(pointer) = pointer else { continue };
        // Read for each thread anew: a thread that has ended since must not lend its mapping to another.
        let maps = ProcessMaps::read().map_err(|error| format!("cannot read /proc/self/maps: {error}"))?;
        let (verdict, found) = stack_probe::judge_mapping(StackPointer(pointer), &maps, STACK_SIZE_BYTES);
        threads.push(Thread { name, verdict, found });
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
            return Err(format!(
                "`{}` did not come to rest within {} s",
                name_of(tid),
                SETTLE_TIME_MAX.as_secs()
            ));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A kernel without this file is told from a thread that is gone.
fn task_ended(tid: i32) -> bool {
    !std::path::Path::new(&format!("/proc/self/task/{tid}")).exists()
}

/// `running`, or `NUMBER ARG.. SP PC`, or `-1 SP PC` for a thread that waits outside of a system call.
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
    fn the_stack_pointer_is_the_last_field_but_one() {
        let waiting = "202 0x7f11 0x80 0x0 0x0 0x0 0x0 0x7f1122334400 0x401234\n";
        assert_eq!(parse_stack_pointer(waiting), Ok(Some(0x7f11_2233_4400)));
        assert_eq!(parse_stack_pointer("-1 0x7f00 0x40\n"), Ok(Some(0x7f00)));
        assert_eq!(parse_stack_pointer("running\n"), Ok(None));
        assert!(parse_stack_pointer("").is_err());
        assert!(parse_stack_pointer("1 2 3 4\n").is_err());
    }

    /// What the check says of a waiting thread with this stack.
    fn measured(name: &str, stack_bytes: usize) -> bool {
        let (stop, stopped) = mpsc::channel::<()>();
        let (start, started) = mpsc::channel();
        // A thread gives itself its name: it has one when its code runs.
        let work = move || (start.send(()), stopped.recv());
        let thread =
            std::thread::Builder::new().name(name.into()).stack_size(stack_bytes).spawn(work).unwrap();
        started.recv().unwrap();
        let threads = measure().unwrap();
        drop(stop);
        thread.join().unwrap().1.unwrap_err();
        threads.iter().find(|thread| thread.name == name).unwrap().verdict
    }

    #[test]
    fn a_thread_left_to_a_default_is_caught() {
        assert!(measured("explicit", 8 << 20));
        assert!(!measured("std-default", 2 << 20));
    }

    #[test]
    fn one_failure_fails_all_and_no_thread_is_no_pass() {
        let thread = |verdict| Thread { name: "t".into(), verdict, found: "small".into() };
        assert!(judge(&[thread(true), thread(true)]).0);
        assert_eq!(judge(&[thread(true), thread(false)]), (false, "`t`: small".to_string()));
        assert!(!judge(&[]).0);
    }
}
