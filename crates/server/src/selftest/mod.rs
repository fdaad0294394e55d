//! `inferd selftest`: the file that ships proves itself, on the machine where it runs.
//!
//! A check says what it expected and what it found. *Not measured* is a verdict of its own and never a pass. The checks run one
//! after the other on a compute thread, while the main thread only waits: a check that hangs (which is what some of the patched
//! defects of OpenBLAS did) is reported as failed after [`CHECK_TIME_MAX`], and the report is still complete and valid.
//!
//! Deliberately absent: anything that needs a writable folder, the network, more rights than the server has, or a model on disk.

mod blas_workers;
mod cancellation;
mod drain;
mod embedded_model;
mod gemm;
mod golden;
mod memory_preflight;
mod process_maps;
mod rehearsal;
mod report;
mod server_single_flight;
mod stack_probe;
mod thread_stack;
mod thread_stacks;
pub mod worker_shortage;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::compute_thread;
use crate::failure::Failure;

pub use report::Report;

/// Far above what a check needs on a loaded single core, far below what a pipeline would wait.
const CHECK_TIME_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Pass,
    Fail,
    NotMeasured,
}

#[derive(Debug, Clone)]
pub struct Outcome {
    pub verdict: Verdict,
    pub expected: String,
    pub found: String,
}

impl Outcome {
    fn judge(pass: bool, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let verdict = if pass { Verdict::Pass } else { Verdict::Fail };
        Self { verdict, expected: expected.into(), found: found.into() }
    }

    fn not_measured(expected: impl Into<String>, why: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotMeasured, expected: expected.into(), found: why.into() }
    }
}

struct Check {
    name: &'static str,
    run: fn() -> Outcome,
}

/// In this order: measuring the workers makes sure that there is one, so that the GEMMs after it run on several threads; the
/// last check sees the threads that all others have left.
const CHECKS: &[Check] = &[
    Check { name: "default-attr-thread-stack", run: thread_stack::default_attr },
    Check { name: "blas-worker-stacks", run: blas_workers::stacks },
    Check { name: "blas-worker-names", run: blas_workers::names },
    Check { name: "gemm-correct", run: gemm::correct },
    Check { name: "blas-worker-shortage", run: worker_shortage::survives },
    Check { name: "golden-embedding", run: golden::embedding },
    Check { name: "memory-preflight", run: memory_preflight::judged },
    Check { name: "server-single-flight", run: server_single_flight::one_load },
    Check { name: "cancellation", run: cancellation::stops },
    Check { name: "drain", run: drain::in_time },
    Check { name: "all-thread-stacks", run: thread_stacks::all },
];

/// Runs every check. An error means that not even the first could be started.
pub fn run() -> Result<Report, Failure> {
    run_checks(CHECKS, CHECK_TIME_MAX)
}

fn run_checks(checks: &'static [Check], time_max: Duration) -> Result<Report, Failure> {
    let (sender, receiver) = mpsc::channel();
    let worker = compute_thread::spawn(move || {
        for check in checks {
            let started = Instant::now();
            let outcome = (check.run)();
            if sender.send((outcome, started.elapsed())).is_err() {
                return; // the main thread gave up on an earlier check
            }
        }
    })
    .map_err(|error| Failure::new(error).context("cannot start the thread for the checks"))?;

    let mut report = Report::new();
    let mut stopped = None;
    for check in checks {
        if let Some(why) = stopped {
            report.add(check.name, Outcome::not_measured("", why), Duration::ZERO);
            continue;
        }
        let started = Instant::now();
        let ended = "the check ends";
        match receiver.recv_timeout(time_max) {
            Ok((outcome, time)) => report.add(check.name, outcome, time),
            Err(RecvTimeoutError::Timeout) => {
                let found = format!("it hung for {:.1} s", time_max.as_secs_f32());
                report.add(check.name, Outcome::judge(false, ended, found), started.elapsed());
                report.hung = true;
                stopped = Some("not run: an earlier check hung");
            }
            Err(RecvTimeoutError::Disconnected) => {
                report.add(check.name, Outcome::judge(false, ended, "it panicked"), started.elapsed());
                stopped = Some("not run: an earlier check panicked");
            }
        }
    }
    if !report.hung {
        // A panic is in the report already.
        let _ = worker.join();
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing() -> Outcome {
        Outcome::judge(true, "", "")
    }

    fn hanging() -> Outcome {
        std::thread::sleep(Duration::from_secs(3));
        passing()
    }

    fn panicking() -> Outcome {
        panic!("on purpose")
    }

    #[track_caller]
    fn check(checks: &'static [Check], hung: bool, second: &str) {
        let report = run_checks(checks, Duration::from_millis(300)).unwrap();
        assert_eq!((report.hung, report.exit_code()), (hung, 1));
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        let verdicts: Vec<_> =
            json["checks"].as_array().unwrap().iter().map(|check| check["verdict"].clone()).collect();
        assert_eq!(verdicts, ["pass", "fail", "not-measured"]);
        assert_eq!(json["checks"][1]["found"], second);
    }

    #[test]
    fn a_check_that_hangs_or_panics_fails_and_the_report_is_complete() {
        const FIRST: Check = Check { name: "first", run: passing };
        const LAST: Check = Check { name: "last", run: passing };
        check(&[FIRST, Check { name: "second", run: hanging }, LAST], true, "it hung for 0.3 s");
        check(&[FIRST, Check { name: "second", run: panicking }, LAST], false, "it panicked");
    }
}
