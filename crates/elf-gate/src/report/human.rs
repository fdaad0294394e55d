//! Text for terminals: one line for each file with its verdict first, followed by its violations and their hints.

use std::fmt::{Result, Write};

use units::ByteSize;

use crate::policy::{RuleOutcome, Verdict};
use crate::report::model::{FileReport, FileState, GateReport, OutcomeStatus};
use crate::report::text::{counted, counts, policies, printable, waived, with_hint};

/// How to print.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Use ANSI colours.
    pub color: bool,
    /// Also show rules that pass.
    pub shows_passes: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";

pub(super) fn render(report: &GateReport, style: Style) -> String {
    let mut out = String::new();
    // Longer paths extend beyond the column.
    const COLUMN_MAX: usize = 60;
    let widths = report.files.iter().map(|file| file.file.chars().count());
    let width = widths.filter(|&width| width <= COLUMN_MAX).max().unwrap_or(0);
    for file in &report.files {
        // Writing to a String cannot fail.
        let _ = render_file(&mut out, file, width, style);
    }
    for diagnostic in &report.diagnostics {
        let label = paint(&format!("error[{}]", diagnostic.code().id), "1;31", style);
        let _ = writeln!(out, "{label}: {}", with_hint(diagnostic));
    }
    for policy in policies(report) {
        let _ = writeln!(out, "{}", paint(&format!("policy: {policy}"), DIM, style));
    }
    let _ = writeln!(out, "{}  {}", mark(report.verdict, style), counts(&report.summary));
    out
}

fn render_file(out: &mut String, file: &FileReport, width: usize, style: Style) -> Result {
    let padding = width.saturating_sub(file.file.chars().count());
    let name = format!("{}{:padding$}", paint(&printable(&file.file), BOLD, style), "");
    let mark = mark(file.verdict(), style);
    match &file.state {
        FileState::Unreadable { error, .. } => {
            writeln!(out, "{mark}  {name}  not judged")?;
            let id = error.code().id;
            writeln!(out, "      error[{id}]: {}", with_hint(error).replace('\n', "\n      "))?;
        }
        FileState::Judged { stage, stage_reason, size_bytes, rules, .. } => {
            let reason = match stage_reason {
                Some(reason) if style.shows_passes => format!(" ({reason})"),
                _ => String::new(),
            };
            let size = ByteSize(*size_bytes).rounded();
            writeln!(out, "{mark}  {name}  {stage}{reason}, {size}, {}", tally(rules))?;
            render_rules(out, rules, style)?;
        }
        FileState::Image { image, rules, .. } => {
            let program =
                image.program.as_deref().map_or(String::new(), |path| format!(" of `{}`", printable(path)));
            writeln!(out, "{mark}  {name}  image{program}, {}", tally(rules))?;
            render_rules(out, rules, style)?;
        }
    }
    for note in &file.notes {
        writeln!(out, "      {}", paint(&format!("note: {}", printable(note)), DIM, style))?;
    }
    Ok(())
}

fn render_rules(out: &mut String, rules: &[RuleOutcome], style: Style) -> Result {
    let is_shown =
        |outcome: &&RuleOutcome| style.shows_passes || OutcomeStatus::of(outcome) != OutcomeStatus::Pass;
    let shown: Vec<&RuleOutcome> = rules.iter().filter(is_shown).collect();
    let width = shown.iter().map(|outcome| outcome.rule.len()).max().unwrap_or(0);
    for outcome in shown {
        render_rule(out, outcome, width, style)?;
    }
    Ok(())
}

fn tally(rules: &[RuleOutcome]) -> String {
    let count = |status| rules.iter().filter(|outcome| OutcomeStatus::of(outcome) == status).count();
    let mut tally = match count(OutcomeStatus::Pass) {
        all if all == rules.len() => return format!("{} passed", counted(all, "rule")),
        some => format!("{some} of {} passed", counted(rules.len(), "rule")),
    };
    for (status, label) in [
        (OutcomeStatus::Violation, "violated"),
        (OutcomeStatus::CannotTell, "undecided"),
        (OutcomeStatus::Waived, "waived"),
        (OutcomeStatus::Warning, "with a warning"),
        (OutcomeStatus::Note, "with a note"),
    ] {
        match count(status) {
            0 => {}
            some => tally += &format!(", {some} {label}"),
        }
    }
    tally
}

fn render_rule(out: &mut String, outcome: &RuleOutcome, width: usize, style: Style) -> Result {
    let status = OutcomeStatus::of(outcome);
    let mark = status_mark(status, style);
    let (rule, found) = (&outcome.rule, printable(&outcome.found));
    if status == OutcomeStatus::Pass {
        return writeln!(out, "      {mark}  {rule:width$}  {found}");
    }
    writeln!(out, "      {mark}  {rule:width$}  expected {}", printable(&outcome.expected))?;
    writeln!(out, "            {:width$}  found    {found}", "")?;
    if let Some(waived) = waived(outcome) {
        writeln!(out, "            {:width$}  {}", "", printable(&waived))?;
    } else if !outcome.hint.is_empty() {
        let hint = format!("hint: {}", printable(&outcome.hint));
        writeln!(out, "            {:width$}  {}", "", paint(&hint, DIM, style))?;
    }
    Ok(())
}

/// Four characters each, so that columns are aligned.
fn mark(verdict: Verdict, style: Style) -> String {
    match verdict {
        Verdict::Pass => paint("pass", "32", style),
        Verdict::Violation => paint("FAIL", "1;31", style),
        Verdict::CannotTell => paint("????", "1;33", style),
    }
}

fn status_mark(status: OutcomeStatus, style: Style) -> String {
    match status {
        OutcomeStatus::Pass => mark(Verdict::Pass, style),
        OutcomeStatus::Violation => mark(Verdict::Violation, style),
        OutcomeStatus::CannotTell => mark(Verdict::CannotTell, style),
        OutcomeStatus::Waived => paint("okay", "36", style),
        OutcomeStatus::Warning => paint("warn", "33", style),
        OutcomeStatus::Note => paint("note", "36", style),
    }
}

fn paint(text: &str, code: &str, style: Style) -> String {
    if style.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
}
