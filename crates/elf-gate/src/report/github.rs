//! GitHub Actions: annotations on stdout, and a table for the summary page of the run.

use std::fmt::Write;

use crate::policy::Verdict;
use crate::report::model::{FileReport, FileState, GateReport, OutcomeStatus};
use crate::report::text::{counted, counts, policies, printable, sanitized, sentence, verdict, with_hint};

/// GitHub shows ten annotations of each level for a step and drops the others without a message.
const ANNOTATIONS_SHOWN: usize = 10;

pub(super) fn annotations(report: &GateReport) -> String {
    let mut out = String::new();
    let mut errors = 0;
    for file in &report.files {
        let path = property(file.path_on_disk());
        if let FileState::Unreadable { error, .. } = &file.state {
            errors += 1;
            let title = property(&format!("elf-gate: {}", error.code().id));
            let message = message(&format!("{}: {}", file.file, with_hint(error)));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "::error file={path},title={title}::{message}");
        }
        for (outcome, status) in file.exceptions() {
            let level = match status {
                OutcomeStatus::Violation | OutcomeStatus::CannotTell => "error",
                OutcomeStatus::Warning => "warning",
                OutcomeStatus::Waived | OutcomeStatus::Note | OutcomeStatus::Pass => "notice",
            };
            errors += usize::from(level == "error");
            let title = property(&format!("elf-gate: {}", outcome.rule));
            let text = format!("{}: {}\nhint: {}", file.file, sentence(outcome), outcome.hint);
            let _ = writeln!(out, "::{level} file={path},title={title}::{}", message(&text));
        }
    }
    for diagnostic in &report.diagnostics {
        errors += 1;
        let title = property(&format!("elf-gate: {}", diagnostic.code().id));
        let _ = writeln!(out, "::error title={title}::{}", message(&with_hint(diagnostic)));
    }
    if errors > ANNOTATIONS_SHOWN {
        let text = format!(
            "elf-gate found {errors} errors, of which GitHub shows {ANNOTATIONS_SHOWN}; the step summary and the log list all"
        );
        let _ = writeln!(out, "::notice title=elf-gate::{}", message(&text));
    }
    for policy in policies(report) {
        let _ = writeln!(out, "elf-gate: policy: {}", message(&policy));
    }
    let _ = writeln!(out, "elf-gate: {}, {}", verdict(report.verdict), counts(&report.summary));
    out
}

/// Counts the files that pass, and lists the others up to the size limit of the page.
pub(super) fn step_summary(report: &GateReport) -> String {
    // GitHub shows nothing of a summary that exceeds 1 MiB.
    const BYTES_MAX: usize = 900 << 10;
    let mut out = format!("## ELF gate: {}\n\n{}\n", verdict(report.verdict), counts(&report.summary));
    for policy in policies(report) {
        let _ = writeln!(out, "\npolicy: {}", cell(&policy));
    }
    let is_listed =
        |file: &&FileReport| file.verdict() != Verdict::Pass || file.exceptions().next().is_some();
    let listed: Vec<&FileReport> = report.files.iter().filter(is_listed).collect();
    if !listed.is_empty() || !report.diagnostics.is_empty() {
        out += "\n| file | rule | verdict | expected | found | hint |\n|---|---|---|---|---|---|\n";
    }
    for (index, file) in listed.iter().enumerate() {
        if out.len() > BYTES_MAX {
            let _ = writeln!(out, "\n{} omitted; the log lists all.", counted(listed.len() - index, "file"));
            break;
        }
        let name = cell(&file.file);
        if let FileState::Unreadable { error, .. } = &file.state {
            let (text, hint) = (
                cell(&sanitized(error).to_string()),
                cell(error.fields().hint.as_deref().unwrap_or_default()),
            );
            let _ = writeln!(out, "| `{name}` | `{}` | not judged | | {text} | {hint} |", error.code().id);
        }
        for (outcome, status) in file.exceptions() {
            let said = status_name(status);
            let (expected, found) = (cell(&outcome.expected), cell(&outcome.found));
            let hint = cell(&outcome.hint);
            let _ =
                writeln!(out, "| `{name}` | `{}` | {said} | {expected} | {found} | {hint} |", outcome.rule);
        }
    }
    for diagnostic in &report.diagnostics {
        let (text, hint) = (
            cell(&sanitized(diagnostic).to_string()),
            cell(diagnostic.fields().hint.as_deref().unwrap_or_default()),
        );
        let _ = writeln!(out, "| | `{}` | error | | {text} | {hint} |", diagnostic.code().id);
    }
    out
}

fn status_name(status: OutcomeStatus) -> &'static str {
    match status {
        OutcomeStatus::Waived => "waived",
        OutcomeStatus::Warning => "warning",
        OutcomeStatus::Note => "note",
        OutcomeStatus::Pass => verdict(Verdict::Pass),
        OutcomeStatus::Violation => verdict(Verdict::Violation),
        OutcomeStatus::CannotTell => verdict(Verdict::CannotTell),
    }
}

/// Encodes line ends, because a command ends with its line.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// In a property, `:` and `,` are separators as well.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

/// Escapes Markdown and HTML, so that text of a file stays inside of its cell.
fn cell(text: &str) -> String {
    let text = printable(&text.replace('\n', " "));
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|").replace('`', "'")
}
