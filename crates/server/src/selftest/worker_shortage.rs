//! When OpenBLAS cannot create a worker, it becomes slower and does not hang.
//!
//! The unpatched library waits for workers that were never started, and the next GEMM hangs. The check starts this
//! executable as a child process, leaves it no address space for another stack, requests more threads, and multiplies.
//! A child, because a hang cannot be undone and a limit on address space would affect the other checks.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use openblas_sys::{Matrix, Transpose};

use super::check::CheckResult;
use crate::compute_thread;

/// Hidden value of `--child` that runs [`child`].
pub const CHILD: &str = "worker-shortage";
const CHILD_TIME_MAX: Duration = Duration::from_secs(20);
const THREADS_REQUESTED: usize = 4;
/// Enough for small allocations, not for the smallest default stack (128 KiB).
const FREE_BYTES: u64 = 64 << 10;
/// Large enough for OpenBLAS to use all threads.
const SIDE: usize = 512;

/// Exit codes of the child; all others are crashes.
const SURVIVED: u8 = 0;
const WRONG_RESULT: u8 = 3;
const NO_SHORTAGE: u8 = 4;

/// The check.
pub fn survives() -> CheckResult {
    let mut child = Command::new("/proc/self/exe");
    // OpenBLAS has one thread at the start, so every further worker is created under the limit.
    child.args(["selftest", "--child", CHILD]);
    run_child(child, CHILD_TIME_MAX)
}

fn run_child(mut child: Command, time_max: Duration) -> CheckResult {
    let expected = "without address space for another worker, a large GEMM ends with the correct result";
    let mut child = match child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            return CheckResult::not_measured(
                expected,
                format!("cannot start this executable again: {error}"),
            );
        }
    };
    let status = match wait(&mut child, time_max) {
        Ok(Some(status)) => status,
        Ok(None) => {
            let found = format!("the GEMM hung; the child was killed after {:.1} s", time_max.as_secs_f32());
            return CheckResult::of(false, expected, found);
        }
        Err(error) => {
            return CheckResult::not_measured(expected, format!("cannot wait for the child: {error}"));
        }
    };
    let mut output = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        // The output is a detail; the exit code is the result.
        let _ = stdout.read_to_string(&mut output);
    }
    let output = output.trim();
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(SURVIVED) => CheckResult::of(true, expected, output),
        Some(WRONG_RESULT) => CheckResult::of(false, expected, format!("wrong result; {output}")),
        Some(NO_SHORTAGE) => CheckResult::not_measured(expected, output),
        _ => CheckResult::of(false, expected, format!("the child ended with {status}; {output}")),
    }
}

pub(super) fn wait(
    child: &mut Child,
    time_max: Duration,
) -> std::io::Result<Option<std::process::ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > time_max {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The child process: its exit code and its output.
pub fn child() -> (u8, String) {
    match compute_thread::spawn(multiply_under_limit).map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => (NO_SHORTAGE, "the child panicked".to_string()),
        Err(error) => (NO_SHORTAGE, format!("cannot start a thread: {error}")),
    }
}

fn multiply_under_limit() -> (u8, String) {
    let ones = vec![1f32; SIDE * SIDE];
    let mut product = vec![0f32; SIDE * SIDE];
    if let Err(error) = with_address_space_limit(|| openblas_sys::set_num_threads(THREADS_REQUESTED)) {
        return (NO_SHORTAGE, format!("cannot limit the address space: {error}"));
    }
    let tasks = super::blas_workers::task_ids().map_or(0, |tids| tids.len());
    // The main thread and this one.
    if tasks != 2 {
        return (
            NO_SHORTAGE,
            format!("{tasks} threads instead of 2: the limit did not prevent workers from starting"),
        );
    }
    let matrix = || Matrix { data: &ones, stride: SIDE, transpose: Transpose::No };
    openblas_sys::sgemm(SIDE, SIDE, SIDE, 1.0, matrix(), matrix(), 0.0, &mut product, SIDE);
    let code = if product.iter().all(|value| *value == SIDE as f32) { SURVIVED } else { WRONG_RESULT };
    let output = format!(
        "{THREADS_REQUESTED} threads requested, none created, {} in use",
        openblas_sys::num_threads()
    );
    (code, output)
}

/// Lowers the soft limit only, so that it can be raised again for the buffers of the GEMM.
fn with_address_space_limit(work: impl FnOnce()) -> std::io::Result<()> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_ascii_whitespace().next().and_then(|field| field.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| std::io::Error::other("/proc/self/statm has an unknown form"))?;
    // SAFETY: sysconf has no pointer argument.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let before = address_space_limit()?;
    set_address_space_limit(libc::rlimit { rlim_cur: pages * page_bytes + FREE_BYTES, ..before })?;
    work();
    set_address_space_limit(before)
}

fn address_space_limit() -> std::io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit that the call writes.
    match unsafe { libc::getrlimit(libc::RLIMIT_AS, &raw mut limit) } {
        0 => Ok(limit),
        _ => Err(std::io::Error::last_os_error()),
    }
}

fn set_address_space_limit(limit: libc::rlimit) -> std::io::Result<()> {
    // SAFETY: `limit` is a valid rlimit that the call reads.
    match unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckStatus;
    use super::*;

    /// What was found.
    #[track_caller]
    fn check(script: &str, status: CheckStatus) -> String {
        let mut child = Command::new("sh");
        child.args(["-c", script]);
        let result = run_child(child, Duration::from_millis(500));
        assert_eq!(result.status, status, "{}", result.found);
        // Whether a killed child leaves a core depends on the machine.
        let found = result.found.replace(" (core dumped)", "");
        format!("{script}: {found}").trim_end().to_string() + "\n"
    }

    #[test]
    fn maps_every_end_of_the_child_to_a_status() {
        let found = [
            check("echo fine", CheckStatus::Pass),
            check("exec sleep 60", CheckStatus::Fail),
            check("exit 3", CheckStatus::Fail),
            check("exit 4", CheckStatus::NotMeasured),
            check("kill -SEGV $$", CheckStatus::Fail),
            check("exit 1", CheckStatus::Fail),
        ];
        insta::assert_snapshot!(found.concat(), @"
        echo fine: fine
        exec sleep 60: the GEMM hung; the child was killed after 0.5 s
        exit 3: wrong result;
        exit 4:
        kill -SEGV $$: the child ended with signal: 11 (SIGSEGV);
        exit 1: the child ended with exit status: 1;
        ");
    }
}
