//! One glance: a line a file, verdict first, columns aligned; below it what does not hold, and what to do about it.

use std::fmt::{Result, Write};

use super::{FileReport, FileState, Report, Standing, Summary, counted, waived};
use crate::policy::{RuleOutcome, Verdict};

#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Only on a terminal.
    pub color: bool,
    /// Rules that hold are shown, too.
    pub shows_passes: bool,
}

const BOLD: &str = "1";
const DIM: &str = "2";

pub(super) fn render(report: &Report, style: Style) -> String {
    let mut out = String::new();
    // A path may be very long; it then stands out of the column alone.
    const COLUMN_MAX: usize = 60;
    let widths = report.files.iter().map(|file| file.file.chars().count());
    let width = widths.filter(|&width| width <= COLUMN_MAX).max().unwrap_or(0);
    for file in &report.files {
        // Writing to a String cannot fail.
        let _ = render_file(&mut out, file, width, style);
    }
    let _ = summary(&mut out, report.verdict, &report.summary, style);
    out
}

fn render_file(out: &mut String, file: &FileReport, width: usize, style: Style) -> Result {
    let padding = width.saturating_sub(file.file.chars().count());
    let name = format!("{}{:padding$}", paint(&printable(&file.file), BOLD, style), "");
    let mark = mark(file.verdict(), style);
    match &file.state {
        FileState::Unreadable { verdict, error, hint } => {
            let said = if *verdict == Verdict::Violation { "refused" } else { "not judged" };
            writeln!(out, "{mark}  {name}  {said}")?;
            writeln!(out, "      {}", printable(error))?;
            writeln!(out, "      {}", paint(&format!("hint: {}", printable(hint)), DIM, style))?;
        }
        FileState::Judged { stage, stage_detected_because, size_bytes, rules, .. } => {
            let because = match stage_detected_because {
                Some(reason) if style.shows_passes => format!(" ({reason})"),
                _ => String::new(),
            };
            writeln!(out, "{mark}  {name}  {stage}{because}, {}, {}", bytes(*size_bytes), tally(rules))?;
            let is_shown =
                |outcome: &&RuleOutcome| style.shows_passes || Standing::of(outcome) != Standing::Pass;
            let shown: Vec<&RuleOutcome> = rules.iter().filter(is_shown).collect();
            let width = shown.iter().map(|outcome| outcome.rule.len()).max().unwrap_or(0);
            for outcome in shown {
                render_rule(out, outcome, width, style)?;
            }
        }
    }
    for note in &file.notes {
        writeln!(out, "      {}", paint(&format!("note: {}", printable(note)), DIM, style))?;
    }
    Ok(())
}

fn tally(rules: &[RuleOutcome]) -> String {
    let count = |standing| rules.iter().filter(|outcome| Standing::of(outcome) == standing).count();
    let mut tally = match count(Standing::Pass) {
        all if all == rules.len() => return format!("{} hold", counted(all, "rule")),
        some => format!("{some} of {} hold", counted(rules.len(), "rule")),
    };
    for (standing, said) in [
        (Standing::Violation, "violated"),
        (Standing::CannotTell, "not decided"),
        (Standing::Waived, "waived"),
        (Standing::Warning, "warned of"),
        (Standing::Note, "noted"),
    ] {
        match count(standing) {
            0 => {}
            some => tally += &format!(", {some} {said}"),
        }
    }
    tally
}

fn render_rule(out: &mut String, outcome: &RuleOutcome, width: usize, style: Style) -> Result {
    let standing = Standing::of(outcome);
    let mark = standing_mark(standing, style);
    let (rule, found) = (&outcome.rule, printable(&outcome.found));
    if standing == Standing::Pass {
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

fn summary(out: &mut String, verdict: Verdict, summary: &Summary, style: Style) -> Result {
    write!(
        out,
        "{}  {}: {} passed, {} in violation, {} not decided",
        mark(verdict, style),
        counted(summary.files, "file"),
        summary.passed,
        summary.in_violation,
        summary.not_decided
    )?;
    if summary.not_elf > 0 {
        write!(out, "; {} skipped, not ELF", summary.not_elf)?;
    }
    if summary.seen_before > 0 {
        write!(out, "; {} seen before", counted(summary.seen_before, "name"))?;
    }
    writeln!(out)
}

/// Four characters each, so that the columns stand whatever the verdict.
fn mark(verdict: Verdict, style: Style) -> String {
    match verdict {
        Verdict::Pass => paint("pass", "32", style),
        Verdict::Violation => paint("FAIL", "1;31", style),
        Verdict::CannotTell => paint("????", "1;33", style),
    }
}

fn standing_mark(standing: Standing, style: Style) -> String {
    match standing {
        Standing::Pass => mark(Verdict::Pass, style),
        Standing::Violation => mark(Verdict::Violation, style),
        Standing::CannotTell => mark(Verdict::CannotTell, style),
        Standing::Waived => paint("okay", "36", style),
        Standing::Warning => paint("warn", "33", style),
        Standing::Note => paint("note", "36", style),
    }
}

fn paint(text: &str, code: &str, style: Style) -> String {
    if style.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.into() }
}

/// Names and strings come out of files that nobody vouches for: they must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Three digits that mean something; the exact size is in the JSON.
pub(super) fn bytes(size: u64) -> String {
    let (mut scaled, mut units) = (size as f64, ["B", "KiB", "MiB", "GiB"].into_iter());
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        if scaled < 1024.0 {
            break;
        }
        (scaled, unit) = (scaled / 1024.0, next);
    }
    if unit == "B" { format!("{size} B") } else { format!("{scaled:.1} {unit}") }
}
