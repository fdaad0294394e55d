//! Larson's benchmark, as mimalloc-bench runs it: each thread replaces blocks at random in an array of slots, and after some
//! rounds a new thread continues with the array, so that blocks are freed by another thread than the one that allocated them.
//! One step beyond mimalloc-bench: after each round a thread exchanges its array for one of a running thread, so the owner of
//! a freed block is not always a thread that has ended.
//!
//! The program prints one line of JSON.
#![warn(missing_docs)]

mod arguments;
mod proc_self;
mod report;
mod workload;

use std::process::ExitCode;
use std::time::Duration;

use allocators::Peer;

use crate::arguments::Arguments;
use crate::report::Report;

/// Runs the benchmark with the program's global allocator, which must be `A`.
pub fn main<A: Peer>() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("error: {problem}\n{}", arguments::USAGE);
            return ExitCode::from(2);
        }
    };
    match measure::<A>(&arguments) {
        Ok(report) => {
            println!("{}", report.json(A::NAME, &arguments));
            if report.failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn measure<A: Peer>(arguments: &Arguments) -> std::io::Result<Report> {
    let idle = proc_self::resident_bytes()?;
    proc_self::reset_peak()?;
    let (totals, blocks) = workload::run(arguments)?;
    let at_end = proc_self::resident_bytes()?;
    drop(blocks);
    let mut report = Report { idle, at_end, ..totals };
    std::thread::sleep(Duration::from_secs(1));
    report.after_1_s = proc_self::resident_bytes()?;
    std::thread::sleep(Duration::from_secs(9));
    report.after_10_s = proc_self::resident_bytes()?;
    report.after_purge = A::purge().then(proc_self::resident_bytes).transpose()?;
    Ok(report)
}
