//! `inferd selftest`: runs the checks and prints the report.

use std::io::Write;
use std::process::ExitCode;

use clap::builder::PossibleValuesParser;

use super::exit::CommandResult;
use super::output;
use crate::selftest::{self, crash_child, worker_shortage};

/// Flags of the command.
#[derive(clap::Args)]
pub struct Flags {
    /// Print the report, or the error, as JSON
    #[arg(long)]
    pub json: bool,
    /// Leave a check out; repeatable
    #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(selftest::check_names()))]
    skip: Vec<String>,
    /// Runs the child process of a check
    #[arg(long, hide = true, value_parser = PossibleValuesParser::new(children()))]
    child: Option<String>,
}

/// Only the command line starts them; no request does.
fn children() -> impl Iterator<Item = &'static str> {
    std::iter::once(worker_shortage::CHILD).chain(crash_child::CASES.iter().map(|case| case.name))
}

/// Exits with the code of the report.
pub fn run(flags: &Flags) -> CommandResult {
    if let Some(case) = flags.child.as_deref().and_then(crash_child::find) {
        return Err(case.run());
    }
    if flags.child.is_some() {
        let (code, message) = worker_shortage::child();
        let _ = writeln!(std::io::stdout(), "{message}");
        return Ok(ExitCode::from(code));
    }
    let report = selftest::run(&flags.skip)?;
    output::print(&if flags.json { report.json()? } else { report.to_string() })?;
    if report.is_hung() {
        // SAFETY: _exit has no preconditions and does not return. stdout has been flushed. A regular exit would run the
        // shutdown of OpenBLAS, which waits for the thread that hangs.
        unsafe { libc::_exit(i32::from(report.exit_code())) }
    }
    Ok(ExitCode::from(report.exit_code()))
}
