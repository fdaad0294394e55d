//! The report of each kind of crash, in child processes of this executable.
//!
//! The child ends by the signal of the crash, and its report has the expected texts, the build-id of this file and a
//! backtrace inside of its code.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::check::CheckResult;
use super::crash_child::{CASES, Case, NO_REPORT};
use super::worker_shortage::wait;
use crate::crash;

const CHILD_TIME_MAX: Duration = Duration::from_secs(20);

/// The check.
pub fn complete() -> CheckResult {
    let expected = format!("{} kinds of crashes end by their signal, after a complete report", CASES.len());
    let mut failures = Vec::new();
    for case in CASES {
        match run(case) {
            Ok(Ended::By(status, report)) => failures.extend(verify(case, status, &report)),
            Ok(Ended::Hung) => {
                failures.push(format!("`{}`: did not end within {} s", case.name, CHILD_TIME_MAX.as_secs()));
            }
            Err(reason) => return CheckResult::not_measured(expected, format!("`{}`: {reason}", case.name)),
        }
    }
    let names: Vec<_> = CASES.iter().map(|case| case.name.trim_start_matches("crash-")).collect();
    let found = if failures.is_empty() { names.join(", ") } else { failures.join("; ") };
    CheckResult::of(failures.is_empty(), expected, found)
}

/// What became of a child.
enum Ended {
    By(ExitStatus, String),
    /// It was killed after [`CHILD_TIME_MAX`].
    Hung,
}

fn run(case: &Case) -> Result<Ended, String> {
    let mut child = Command::new("/proc/self/exe");
    child.args(["selftest", "--child", case.name]);
    let mut child = child
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot start this executable again: {error}"))?;
    // A report is smaller than the buffer of the pipe, so the child does not wait for a reader.
    let status =
        wait(&mut child, CHILD_TIME_MAX).map_err(|error| format!("cannot wait for the child: {error}"))?;
    let Some(status) = status else { return Ok(Ended::Hung) };
    let mut report = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_end(&mut report).map_err(|error| format!("cannot read its report: {error}"))?;
    }
    Ok(Ended::By(status, String::from_utf8_lossy(&report).into_owned()))
}

/// What is wrong with the report.
fn verify(case: &Case, status: ExitStatus, report: &str) -> Option<String> {
    let wrong = |what: String| Some(format!("`{}`: {what}", case.name));
    if status.signal() != Some(case.signal) {
        return wrong(format!("ended with {status} instead of signal {}", case.signal));
    }
    if case.expected == NO_REPORT {
        return None;
    }
    let build_id = format!("build-id {}\n", crash::build_id());
    for text in case.expected.iter().copied().chain([build_id.as_str(), "  backtrace:\n"]) {
        if !report.contains(text) {
            return wrong(format!("the report has no `{}`", text.trim()));
        }
    }
    // Also in the middle of a line: reports of two threads mix.
    if report.matches("error[").count() != 1 {
        return wrong("not exactly one report".to_string());
    }
    let in_code = addresses(report).filter(|address| crash::is_code(*address)).count();
    // A damaged stack has one frame at most; the others at least the function, its caller and the start of the thread.
    let frames_min = if report.contains("the report ends here") { 1 } else { 3 };
    if in_code < frames_min {
        return wrong(format!("{in_code} frames are in the code of the program"));
    }
    None
}

/// The addresses of the backtrace.
fn addresses(report: &str) -> impl Iterator<Item = usize> {
    let lines = report.lines().skip_while(|line| *line != "  backtrace:");
    lines.filter_map(|line| {
        let address = line.strip_prefix("    0x")?;
        usize::from_str_radix(address.split(' ').next()?, 16).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::crash_child;

    #[test]
    fn a_report_with_a_missing_part_is_rejected() {
        crash::install();
        let case = crash_child::find("crash-fpe").unwrap();
        let code = complete as *const () as usize;
        let report = format!(
            "error[crash]: SIGFPE: arithmetic exception\n build-id {}\n  backtrace:\n    {code:#x}\n    {code:#x} 2 times\n    {code:#x}\n",
            crash::build_id()
        );
        let (killed, exited) = (ExitStatus::from_raw(libc::SIGFPE), ExitStatus::from_raw(0));
        assert_eq!(verify(case, killed, &report), None);
        let problems = [
            verify(case, exited, &report),
            verify(case, killed, &report.replace("build-id ", "build-id 0")),
            verify(case, killed, &report.replacen("    0x", "    -", 1)),
            verify(case, killed, &format!("{report}{report}")),
        ];
        let problems = problems.map(|problem| problem.unwrap().replace(&crash::build_id(), "BUILD-ID"));
        insta::assert_snapshot!(problems.join("\n"), @"
        `crash-fpe`: ended with exit status: 0 instead of signal 8
        `crash-fpe`: the report has no `build-id BUILD-ID`
        `crash-fpe`: 2 frames are in the code of the program
        `crash-fpe`: not exactly one report
        ");
    }
}
