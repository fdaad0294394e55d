//! `inferd selftest`: run the checks, print the report, end with its verdict.

use std::io::Write;
use std::process::ExitCode;

use super::CommandResult;
use super::output::{Output, Stop};
use crate::failure::Failure;
use crate::selftest::{self, worker_shortage};

#[derive(clap::Args)]
pub struct Flags {
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// What a check makes this file do in a process of its own
    #[arg(long, hide = true, value_parser = [worker_shortage::CHILD])]
    child: Option<String>,
}

pub fn run(flags: Flags) -> CommandResult {
    if flags.child.is_some() {
        let (code, said) = worker_shortage::child();
        let _ = writeln!(std::io::stdout(), "{said}");
        return Ok(ExitCode::from(code));
    }
    let report = selftest::run()?;
    let text = if flags.json {
        report.json().map_err(|error| Failure::new(error).context("cannot write the report as JSON"))?
    } else {
        report.to_string()
    };
    let mut output = Output::stdout();
    match output.line(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) | Err(Stop::ReaderGone) => {}
        Err(Stop::Failed(failure)) => return Err(failure),
    }
    if report.hung {
        // An orderly exit would run OpenBLAS's shutdown, which waits for the thread that hangs.
        // SAFETY: _exit takes no memory and does not return; the report has been flushed.
        unsafe { libc::_exit(i32::from(report.exit_code())) }
    }
    Ok(ExitCode::from(report.exit_code()))
}
