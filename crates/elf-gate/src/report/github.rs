//! GitHub Actions: annotations on stdout, and a table for the page of the run.

use std::fmt::Write;

use super::{FileReport, FileState, Report, Standing, counted, human, sentence};
use crate::policy::Verdict;

/// GitHub shows ten annotations of a kind for a step and drops the rest without a word.
const ANNOTATIONS_SHOWN: usize = 10;

pub(super) fn annotations(report: &Report) -> String {
    let mut out = String::new();
    let mut errors = 0;
    for file in &report.files {
        let path = property(file.path_on_disk());
        if let FileState::Unreadable { error, hint, .. } = &file.state {
            errors += 1;
            let message = message(&format!("{}: {error}\nhint: {hint}", file.file));
            // Writing to a String cannot fail.
            let _ = writeln!(out, "::error file={path},title=elf-gate%3A not judged::{message}");
        }
        for (outcome, standing) in file.remarkable() {
            let level = match standing {
                Standing::Violation | Standing::CannotTell => "error",
                Standing::Warning => "warning",
                Standing::Waived | Standing::Note | Standing::Pass => "notice",
            };
            errors += usize::from(level == "error");
            let title = property(&format!("elf-gate: {}", outcome.rule));
            let text = format!("{}: {}\nhint: {}", file.file, sentence(outcome), outcome.hint);
            let _ = writeln!(out, "::{level} file={path},title={title}::{}", message(&text));
        }
    }
    if errors > ANNOTATIONS_SHOWN {
        let text = format!(
            "elf-gate found {errors} errors, of which GitHub shows {ANNOTATIONS_SHOWN}; the step summary and the log have all"
        );
        let _ = writeln!(out, "::notice title=elf-gate::{}", message(&text));
    }
    let said = human_verdict(report.verdict);
    let _ = writeln!(out, "elf-gate: {said}, {}", counts(report));
    out
}

/// Files that pass without a remark are counted; the others are listed, as far as the page takes them.
pub(super) fn step_summary(report: &Report) -> String {
    // A step may write 1 MiB, and then nothing of it is shown at all.
    const BYTES_MAX: usize = 900 << 10;
    let mut out = format!("## ELF gate: {}\n\n{}\n", human_verdict(report.verdict), counts(report));
    let is_remarkable =
        |file: &&FileReport| file.verdict() != Verdict::Pass || file.remarkable().next().is_some();
    let bad: Vec<&FileReport> = report.files.iter().filter(is_remarkable).collect();
    if !bad.is_empty() {
        out += "\n| file | rule | verdict | expected | found | what to do |\n|---|---|---|---|---|---|\n";
    }
    for (index, file) in bad.iter().enumerate() {
        if out.len() > BYTES_MAX {
            let _ = writeln!(
                out,
                "\n{} more are left out; the log has them.",
                counted(bad.len() - index, "file")
            );
            break;
        }
        let name = cell(&file.file);
        if let FileState::Unreadable { error, hint, .. } = &file.state {
            let _ = writeln!(out, "| `{name}` | | not judged | | {} | {} |", cell(error), cell(hint));
        }
        for (outcome, standing) in file.remarkable() {
            let said = said(standing);
            let (expected, found) = (cell(&outcome.expected), cell(&outcome.found));
            let hint = cell(&outcome.hint);
            let _ =
                writeln!(out, "| `{name}` | `{}` | {said} | {expected} | {found} | {hint} |", outcome.rule);
        }
    }
    out
}

fn counts(report: &Report) -> String {
    let summary = &report.summary;
    let mut counts = format!(
        "{}: {} passed, {} in violation, {} not decided",
        counted(summary.files, "file"),
        summary.passed,
        summary.in_violation,
        summary.not_decided
    );
    if summary.not_elf > 0 {
        let _ = write!(counts, "; {} skipped, not ELF", summary.not_elf);
    }
    counts
}

fn said(standing: Standing) -> &'static str {
    match standing {
        Standing::Waived => "waived",
        Standing::Warning => "warning",
        Standing::Note => "note",
        Standing::Pass => human_verdict(Verdict::Pass),
        Standing::Violation => human_verdict(Verdict::Violation),
        Standing::CannotTell => human_verdict(Verdict::CannotTell),
    }
}

fn human_verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Violation => "violation",
        Verdict::CannotTell => "not decided",
    }
}

/// A message ends with its line, so line ends are written as GitHub decodes them.
fn message(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// In a property `:` and `,` mean something, too.
fn property(text: &str) -> String {
    message(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text of a file must not break out of its cell, neither as Markdown nor as HTML.
fn cell(text: &str) -> String {
    let text = human::printable(text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('|', "\\|").replace('`', "'")
}
