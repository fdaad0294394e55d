//! Sentences and counts that several formats share.

use diag::Diagnostic;

use units::ByteSize;

use crate::policy::{POLICY_FILE_NAME, RuleOutcome, Verdict};
use crate::report::model::{GateReport, PolicySource, PolicyUse, Summary};

/// An outcome in one sentence, for formats without columns.
pub(super) fn sentence(outcome: &RuleOutcome) -> String {
    let result = match outcome.verdict {
        Verdict::Pass => "passes",
        Verdict::Violation => "is violated",
        Verdict::CannotTell => "cannot be decided",
    };
    let waived = waived(outcome).map_or(String::new(), |waived| format!(" ({waived})"));
    format!("{} {result}: expected {}, found {}{waived}", outcome.rule, outcome.expected, outcome.found)
}

/// The exception of an outcome.
pub(super) fn waived(outcome: &RuleOutcome) -> Option<String> {
    let waived = outcome.waived.as_ref()?;
    let until = waived.until.map_or(String::new(), |until| format!(" until {until}"));
    Some(format!("waived{until}: {}", waived.reason))
}

/// A copy without control characters. Texts of a diagnostic may quote untrusted files, and a line that starts with `::` is a
/// command in the log of GitHub Actions.
pub(crate) fn sanitized(diagnostic: &Diagnostic) -> Diagnostic {
    let fields = diagnostic.fields();
    let mut copy = Diagnostic::new(fields.code, printable(&fields.message));
    if let Some(file) = &fields.subject.file {
        copy = copy.file(printable(&file.display().to_string()));
    }
    if let Some(location) = fields.subject.location {
        copy = copy.at(location);
    }
    if let Some(stage) = &fields.subject.stage {
        copy = copy.stage(printable(stage));
    }
    if let Some(rule) = &fields.subject.rule {
        copy = copy.rule(printable(rule));
    }
    if let Some(expected) = &fields.expected {
        copy = copy.expected(printable(expected));
    }
    if let Some(found) = &fields.found {
        copy = copy.found(printable(found));
    }
    if let Some(hint) = &fields.hint {
        copy = copy.hint(printable(hint));
    }
    fields.causes.iter().fold(copy, |copy, cause| copy.cause(printable(cause)))
}

/// Message and parts of a diagnostic, with its hint on the last line, without control characters except line ends.
pub(super) fn with_hint(diagnostic: &Diagnostic) -> String {
    let diagnostic = sanitized(diagnostic);
    match &diagnostic.fields().hint {
        Some(hint) => format!("{diagnostic}\nhint: {hint}"),
        None => diagnostic.to_string(),
    }
}

/// `1 file`, `2 files`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// One line for each policy, up to a length that is read.
pub(super) fn policies(report: &GateReport) -> Vec<String> {
    const SHOWN: usize = 8;
    let mut lines: Vec<String> = report.policies.iter().take(SHOWN).map(policy).collect();
    if report.policies.len() > SHOWN {
        lines.push(format!("{} more policies", report.policies.len() - SHOWN));
    }
    lines
}

fn policy(policy: &PolicyUse) -> String {
    let name = printable(&policy.name);
    let of_stack = |bytes| format!(" with a stack of {}", ByteSize(bytes));
    let stack_size = policy.stack_size_bytes.map(of_stack).unwrap_or_default();
    match policy.source {
        PolicySource::File => format!("`{name}`{stack_size}"),
        PolicySource::Preset => format!("preset `{name}`{stack_size}"),
        PolicySource::BesideFiles => format!(
            "`{name}`{stack_size}, found beside {}: it is as trustworthy as the files; `--policy` replaces it",
            counted(policy.files, "file")
        ),
        PolicySource::Default => {
            format!("preset `{name}`{stack_size}, because no `{POLICY_FILE_NAME}` is beside the files")
        }
    }
}

/// The summary in one line.
pub(super) fn counts(summary: &Summary) -> String {
    let mut text = format!(
        "{}: {} passed, {} failed, {} undecided",
        counted(summary.files, "file"),
        summary.passed,
        summary.failed,
        summary.undecided
    );
    if summary.not_elf > 0 {
        text += &format!("; {} skipped (not ELF)", summary.not_elf);
    }
    if summary.duplicates > 0 {
        text += &format!("; {}", counted(summary.duplicates, "duplicate name"));
    }
    text
}

/// `pass`, `violation` or `undecided`.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Violation => "violation",
        Verdict::CannotTell => "undecided",
    }
}

/// Replaces control characters: names and strings of untrusted files must not control the terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
