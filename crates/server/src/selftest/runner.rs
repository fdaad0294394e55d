//! Runs the checks in sequence on a compute thread while the main thread waits.
//!
//! A check that hangs, as some of the patched defects of OpenBLAS did, is reported as failed after [`CHECK_TIME_MAX`].
//! The report is complete and valid also then.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use diag::Diagnostic;

use super::check::{CheckResult, SelftestCheck};
use super::report::SelftestReport;
use super::{
    allocator, blas_workers, cancellation, crash_reports, drain, gemm, golden, memory_preflight,
    server_single_flight, thread_stack, thread_stacks, worker_shortage,
};
use crate::{codes, compute_thread};

/// Far above the time of a check on a loaded single core.
const CHECK_TIME_MAX: Duration = Duration::from_mins(1);

/// The order matters: the measurement of the workers starts one, so that the GEMMs after it use several threads. The
/// last check sees the threads that all other checks have started.
const CHECKS: &[SelftestCheck] = &[
    SelftestCheck { name: "default-attr-thread-stack", run: thread_stack::default_attr },
    SelftestCheck { name: "blas-worker-stacks", run: blas_workers::stacks },
    SelftestCheck { name: "blas-worker-names", run: blas_workers::names },
    SelftestCheck { name: "gemm-correct", run: gemm::correct },
    SelftestCheck { name: "blas-worker-shortage", run: worker_shortage::survives },
    SelftestCheck { name: "crash-reports", run: crash_reports::complete },
    SelftestCheck { name: "golden-embedding", run: golden::embedding },
    SelftestCheck { name: "golden-embedding-of-every-path", run: golden::of_every_path },
    SelftestCheck { name: "allocator-returns-memory", run: allocator::returns_memory },
    SelftestCheck { name: "memory-preflight", run: memory_preflight::assessed },
    SelftestCheck { name: "server-single-flight", run: server_single_flight::one_load },
    SelftestCheck { name: "cancellation", run: cancellation::stops },
    SelftestCheck { name: "drain", run: drain::in_time },
    SelftestCheck { name: "all-thread-stacks", run: thread_stacks::all },
];

/// The names of all checks, in the order in which they run.
pub fn check_names() -> impl Iterator<Item = &'static str> {
    CHECKS.iter().map(|check| check.name)
}

/// Runs every check except those named in `skipped`. Fails when the compute thread cannot be started.
pub fn run(skipped: &[String]) -> Result<SelftestReport, Diagnostic> {
    run_checks(CHECKS, skipped, CHECK_TIME_MAX)
}

fn run_checks(
    checks: &'static [SelftestCheck],
    skipped: &[String],
    time_max: Duration,
) -> Result<SelftestReport, Diagnostic> {
    let (skipped, checks): (Vec<_>, Vec<&'static SelftestCheck>) =
        checks.iter().partition(|check| skipped.iter().any(|name| name == check.name));
    let of_worker = checks.clone();
    let (sender, receiver) = mpsc::channel();
    let worker = compute_thread::spawn(move || {
        for check in of_worker {
            let started = Instant::now();
            let result = (check.run)();
            if sender.send((result, started.elapsed())).is_err() {
                return; // the main thread has stopped after an earlier check
            }
        }
    })
    .map_err(|error| {
        codes::caused(&codes::SYSTEM_RESOURCE, "cannot start the thread of the checks", &error)
    })?;

    let mut report = SelftestReport::new();
    report.set_skipped(skipped.iter().map(|check| check.name).collect());
    let mut stopped = None;
    for check in checks {
        if let Some(reason) = stopped {
            report.add(check.name, CheckResult::not_measured("", reason), Duration::ZERO);
            continue;
        }
        let started = Instant::now();
        let ends = "the check ends";
        match receiver.recv_timeout(time_max) {
            Ok((result, time)) => report.add(check.name, result, time),
            Err(RecvTimeoutError::Timeout) => {
                let found = format!("it hung for {:.1} s", time_max.as_secs_f32());
                report.add(check.name, CheckResult::of(false, ends, found), started.elapsed());
                report.set_hung();
                stopped = Some("not run: an earlier check hung");
            }
            Err(RecvTimeoutError::Disconnected) => {
                report.add(check.name, CheckResult::of(false, ends, "it panicked"), started.elapsed());
                stopped = Some("not run: an earlier check panicked");
            }
        }
    }
    if !report.is_hung() {
        // The report contains a panic already.
        let _ = worker.join();
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passing() -> CheckResult {
        CheckResult::of(true, "", "")
    }

    /// Blocks for ever: the sender lives as long as the receiver.
    fn hanging() -> CheckResult {
        let (_sender, receiver) = mpsc::channel();
        receiver.recv().unwrap()
    }

    fn panicking() -> CheckResult {
        panic!("on purpose")
    }

    #[track_caller]
    fn check(checks: &'static [SelftestCheck], hung: bool, second: &str) {
        let report = run_checks(checks, &[], Duration::from_millis(300)).unwrap();
        assert_eq!((report.is_hung(), report.exit_code()), (hung, 1));
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        let verdicts: Vec<_> =
            json["checks"].as_array().unwrap().iter().map(|check| check["verdict"].clone()).collect();
        assert_eq!(verdicts, ["pass", "fail", "not-measured"]);
        assert_eq!(json["checks"][1]["found"], second);
    }

    #[test]
    fn skipped_checks_do_not_run_and_are_named() {
        const CHECKS: &[SelftestCheck] = &[
            SelftestCheck { name: "first", run: passing },
            SelftestCheck { name: "second", run: panicking },
        ];
        let report = run_checks(CHECKS, &["second".into()], CHECK_TIME_MAX).unwrap();
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["checks"].as_array().unwrap().len(), 1);
        assert_eq!((&json["ok"], &json["skipped"][0]), (&true.into(), &"second".into()));
    }

    #[test]
    fn a_check_that_hangs_or_panics_fails_and_the_report_is_complete() {
        const FIRST: SelftestCheck = SelftestCheck { name: "first", run: passing };
        const LAST: SelftestCheck = SelftestCheck { name: "last", run: passing };
        check(&[FIRST, SelftestCheck { name: "second", run: hanging }, LAST], true, "it hung for 0.3 s");
        check(&[FIRST, SelftestCheck { name: "second", run: panicking }, LAST], false, "it panicked");
    }
}
