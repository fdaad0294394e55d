//! One glance: a line a rule, verdict first, columns aligned; what to do stands below what went wrong.

use std::fmt::Write;

use super::{FileReport, FileState, Report};
use crate::policy::{RuleOutcome, Verdict};

const BOLD: &str = "1";

pub(super) fn render(report: &Report, with_color: bool) -> String {
    let mut out = String::new();
    for file in &report.files {
        // Writing to a String cannot fail.
        let _ = render_file(&mut out, file, with_color);
    }
    let _ = summary(&mut out, report, with_color);
    out
}

fn render_file(out: &mut String, file: &FileReport, with_color: bool) -> std::fmt::Result {
    let name = paint(&file.file, BOLD, with_color);
    match &file.state {
        FileState::Unreadable { error, hint, verdict } => {
            writeln!(out, "{name}: not judged")?;
            writeln!(out, "  {}  {error}", mark(*verdict, with_color))?;
            writeln!(out, "        hint: {hint}\n")
        }
        FileState::Judged { stage, stage_detected_because, size_bytes, rules, .. } => {
            let because = stage_detected_because
                .as_ref()
                .map_or(String::new(), |reason| format!(", detected: {reason}"));
            writeln!(out, "{name}: stage {stage}{because} ({size_bytes} bytes)")?;
            let width = rules.iter().map(|outcome| outcome.rule.len()).max().unwrap_or(0);
            for outcome in rules {
                render_rule(out, outcome, width, with_color)?;
            }
            writeln!(out)
        }
    }
}

fn render_rule(out: &mut String, outcome: &RuleOutcome, width: usize, with_color: bool) -> std::fmt::Result {
    let mark = mark(outcome.verdict, with_color);
    if outcome.verdict == Verdict::Pass {
        return writeln!(out, "  {mark}  {:width$}  {}", outcome.rule, outcome.found);
    }
    writeln!(
        out,
        "  {mark}  {:width$}  expected {}, found {}",
        outcome.rule, outcome.expected, outcome.found
    )?;
    writeln!(out, "        {:width$}  hint: {}", "", outcome.hint)
}

fn summary(out: &mut String, report: &Report, with_color: bool) -> std::fmt::Result {
    let count = |verdict: Verdict| report.files.iter().filter(|file| file.verdict() == verdict).count();
    let files = report.files.len();
    let plural = if files == 1 { "file" } else { "files" };
    writeln!(
        out,
        "{}  {files} {plural}: {} passed, {} in violation, {} not decided",
        mark(report.verdict, with_color),
        count(Verdict::Pass),
        count(Verdict::Violation),
        count(Verdict::CannotTell)
    )
}

/// Four characters each, so that the columns stand whatever the verdict.
fn mark(verdict: Verdict, with_color: bool) -> String {
    match verdict {
        Verdict::Pass => paint("pass", "32", with_color),
        Verdict::Violation => paint("FAIL", "1;31", with_color),
        Verdict::CannotTell => paint("????", "1;33", with_color),
    }
}

fn paint(text: &str, code: &str, with_color: bool) -> String {
    if with_color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
}
