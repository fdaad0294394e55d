//! A worker of OpenBLAS that cannot be created must cost speed, not the process.
//!
//! Unpatched, the library counts on workers that never started, and the next GEMM waits for them for ever. The check starts
//! this file again as a child, lets it have no room for another stack, asks OpenBLAS for more threads, and multiplies. A child,
//! because a hang cannot be undone and because a limit on address space would starve the other checks.

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use openblas_sys::{Matrix, Transpose};

use super::Outcome;
use crate::compute_thread;

/// The hidden command-line value that makes the child do [`child`].
pub const CHILD: &str = "worker-shortage";
const CHILD_TIME_MAX: Duration = Duration::from_secs(20);
const THREADS_ASKED: usize = 4;
/// Room for small allocations, not for even the smallest default stack (128 KiB).
const ROOM_BYTES: u64 = 64 << 10;
/// Large enough that OpenBLAS wants all its threads.
const SIDE: usize = 512;

/// Exit codes of the child; anything else is a crash.
const SURVIVED: u8 = 0;
const WRONG_RESULT: u8 = 3;
const NO_SHORTAGE: u8 = 4;

pub fn survives() -> Outcome {
    let mut child = Command::new("/proc/self/exe");
    // One thread at start, so that every further worker has to be created under the limit.
    child.args(["selftest", "--child", CHILD]).env("OPENBLAS_NUM_THREADS", "1");
    outlives(child, CHILD_TIME_MAX)
}

fn outlives(mut child: Command, time_max: Duration) -> Outcome {
    let expected = "with no room for another worker, a large GEMM still ends with the right result";
    let mut child = match child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
        Ok(child) => child,
        Err(error) => {
            return Outcome::not_measured(expected, format!("cannot start this file again: {error}"));
        }
    };
    let status = match wait(&mut child, time_max) {
        Ok(Some(status)) => status,
        Ok(None) => {
            let found = format!("the GEMM hung; the child was ended after {:.1} s", time_max.as_secs_f32());
            return Outcome::judge(false, expected, found);
        }
        Err(error) => return Outcome::not_measured(expected, format!("cannot wait for the child: {error}")),
    };
    let mut said = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        // Nothing read means nothing said; the exit code carries the verdict.
        let _ = stdout.read_to_string(&mut said);
    }
    let said = said.trim();
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(SURVIVED) => Outcome::judge(true, expected, said),
        Some(WRONG_RESULT) => Outcome::judge(false, expected, format!("wrong result; {said}")),
        Some(NO_SHORTAGE) => Outcome::not_measured(expected, said),
        _ => Outcome::judge(false, expected, format!("the child ended with {status}; {said}")),
    }
}

fn wait(child: &mut Child, time_max: Duration) -> std::io::Result<Option<std::process::ExitStatus>> {
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

/// The child's side: returns its exit code and what it has to say.
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
    if let Err(error) = with_address_space_limit(|| openblas_sys::set_num_threads(THREADS_ASKED)) {
        return (NO_SHORTAGE, format!("cannot limit the address space: {error}"));
    }
    let tasks = super::blas_workers::task_ids().map_or(0, |tids| tids.len());
    // The main thread and this one.
    if tasks != 2 {
        return (
            NO_SHORTAGE,
            format!("{tasks} threads where 2 were expected: the limit did not keep workers from starting"),
        );
    }
    let matrix = || Matrix { data: &ones, stride: SIDE, transpose: Transpose::No };
    openblas_sys::sgemm(SIDE, SIDE, SIDE, 1.0, matrix(), matrix(), 0.0, &mut product, SIDE);
    let code = if product.iter().all(|value| *value == SIDE as f32) { SURVIVED } else { WRONG_RESULT };
    let said = format!(
        "{THREADS_ASKED} threads asked, none could be created, {} in use",
        openblas_sys::num_threads()
    );
    (code, said)
}

/// Only the soft limit is lowered, so that it can be raised again for the GEMM's own buffers.
fn with_address_space_limit(work: impl FnOnce()) -> std::io::Result<()> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm.split_ascii_whitespace().next().and_then(|field| field.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| std::io::Error::other("/proc/self/statm has an unknown form"))?;
    // SAFETY: sysconf has no memory arguments; `before` is written by getrlimit before it is read.
    unsafe {
        let page_bytes = libc::sysconf(libc::_SC_PAGESIZE) as u64;
        let mut before = std::mem::zeroed::<libc::rlimit>();
        if libc::getrlimit(libc::RLIMIT_AS, &mut before) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        let low = libc::rlimit { rlim_cur: pages * page_bytes + ROOM_BYTES, ..before };
        if libc::setrlimit(libc::RLIMIT_AS, &low) != 0 {
            return Err(std::io::Error::last_os_error());
        }
        work();
        if libc::setrlimit(libc::RLIMIT_AS, &before) != 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[track_caller]
    fn check(script: &str, verdict: Verdict, said: &str) {
        let mut child = Command::new("sh");
        child.args(["-c", script]);
        let outcome = outlives(child, Duration::from_millis(500));
        assert_eq!(outcome.verdict, verdict, "{}", outcome.found);
        assert!(outcome.found.contains(said), "{}", outcome.found);
    }

    #[test]
    fn every_way_to_end_has_its_verdict() {
        check("echo fine", Verdict::Pass, "fine");
        check("exec sleep 60", Verdict::Fail, "hung");
        check("exit 3", Verdict::Fail, "wrong result");
        check("exit 4", Verdict::NotMeasured, "");
        check("kill -SEGV $$", Verdict::Fail, "signal: 11");
        check("exit 1", Verdict::Fail, "exit status: 1");
    }
}
