//! Outcomes of many files as one report: for people, for programs, and for the services that run a build.
//!
//! A file that could not be read is part of the report, so that every format stays valid and complete when a run fails.
//!
//! Renders text and opens no file: where a report goes is the caller's business.

mod diff;
mod explain;
mod github;
mod human;
mod junit;
mod sarif;

use serde::Serialize;

pub use diff::{Diff, DiffSide};
pub use explain::{explain, wrapped};
pub use human::Style;

use crate::policy::{RuleOutcome, Severity, Stage, Verdict};

/// Bumped when a field changes its meaning or goes away. `schemas/verify-elf-report-N.schema.json` describes it.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema_version: u32,
    pub tool: Tool,
    pub verdict: Verdict,
    pub summary: Summary,
    pub files: Vec<FileReport>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tool {
    pub name: &'static str,
    pub version: &'static str,
}

const TOOL: Tool = Tool { name: "elf-gate", version: env!("CARGO_PKG_VERSION") };

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    pub files: usize,
    pub passed: usize,
    pub in_violation: usize,
    pub not_decided: usize,
    /// What was met in folders and archives and is no ELF file.
    pub not_elf: usize,
    /// Second names of files that were judged under their first.
    pub seen_before: usize,
}

/// What was found out about one file.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// As the user would name it; a member stands behind its container, as in `a.tar!bin/tool`.
    pub file: String,
    /// The file on disk, when `file` is a member of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What the judge did without being told to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    #[serde(flatten)]
    pub state: FileState,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum FileState {
    Judged {
        stage: Stage,
        /// Why this stage, when nobody named one.
        #[serde(skip_serializing_if = "Option::is_none")]
        stage_detected_because: Option<String>,
        size_bytes: u64,
        verdict: Verdict,
        rules: Vec<RuleOutcome>,
    },
    Unreadable {
        verdict: Verdict,
        error: String,
        hint: String,
    },
}

impl FileReport {
    pub fn judged(
        file: impl Into<String>,
        stage: Stage,
        stage_detected_because: Option<String>,
        size_bytes: u64,
        rules: Vec<RuleOutcome>,
    ) -> FileReport {
        let verdict = worst(rules.iter().map(RuleOutcome::effective));
        let state = FileState::Judged { stage, stage_detected_because, size_bytes, verdict, rules };
        FileReport { file: file.into(), container: None, notes: Vec::new(), state }
    }

    /// No verdict is possible; that is never a pass.
    pub fn unreadable(
        file: impl Into<String>,
        error: impl Into<String>,
        hint: impl Into<String>,
    ) -> FileReport {
        let state =
            FileState::Unreadable { verdict: Verdict::CannotTell, error: error.into(), hint: hint.into() };
        FileReport { file: file.into(), container: None, notes: Vec::new(), state }
    }

    /// Something besides a file breaks the policy, and its name stands in the place of a file.
    pub fn refused(file: impl Into<String>, error: impl Into<String>, hint: impl Into<String>) -> FileReport {
        let state =
            FileState::Unreadable { verdict: Verdict::Violation, error: error.into(), hint: hint.into() };
        FileReport { file: file.into(), container: None, notes: Vec::new(), state }
    }

    pub fn verdict(&self) -> Verdict {
        match self.state {
            FileState::Judged { verdict, .. } | FileState::Unreadable { verdict, .. } => verdict,
        }
    }

    /// The path on disk: what a service that shows source files can link to.
    fn path_on_disk(&self) -> &str {
        self.container.as_deref().unwrap_or(&self.file)
    }

    /// The outcomes that are not plain passes.
    fn remarkable(&self) -> impl Iterator<Item = (&RuleOutcome, Standing)> {
        let rules = match &self.state {
            FileState::Judged { rules, .. } => &rules[..],
            FileState::Unreadable { .. } => &[],
        };
        let standings = rules.iter().map(|outcome| (outcome, Standing::of(outcome)));
        standings.filter(|(_, standing)| *standing != Standing::Pass)
    }
}

/// How an outcome counts. The one place that every format asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Pass,
    Violation,
    CannotTell,
    /// Not a pass, and the policy says why it may stand.
    Waived,
    /// Not a pass, of a rule that stops nothing.
    Warning,
    Note,
}

impl Standing {
    fn of(outcome: &RuleOutcome) -> Standing {
        match (outcome.verdict, outcome.severity) {
            (Verdict::Pass, _) => Standing::Pass,
            _ if outcome.waived.is_some() => Standing::Waived,
            (_, Severity::Warning) => Standing::Warning,
            (_, Severity::Note) => Standing::Note,
            (Verdict::Violation, Severity::Error) => Standing::Violation,
            (Verdict::CannotTell, Severity::Error) => Standing::CannotTell,
        }
    }
}

/// In one sentence, for formats that have no columns.
fn sentence(outcome: &RuleOutcome) -> String {
    let said = match outcome.verdict {
        Verdict::Pass => "holds",
        Verdict::Violation => "is violated",
        Verdict::CannotTell => "cannot be told",
    };
    let waived = waived(outcome).map_or(String::new(), |waived| format!(" ({waived})"));
    format!("{} {said}: expected {}, found {}{waived}", outcome.rule, outcome.expected, outcome.found)
}

/// Why an outcome may stand.
fn waived(outcome: &RuleOutcome) -> Option<String> {
    let waived = outcome.waived.as_ref()?;
    let until = waived.until.map_or(String::new(), |until| format!(" until {until}"));
    Some(format!("waived{until}: {}", waived.reason))
}

impl Report {
    pub fn new(files: Vec<FileReport>) -> Report {
        let verdict = worst(files.iter().map(FileReport::verdict));
        let count = |verdict: Verdict| files.iter().filter(|file| file.verdict() == verdict).count();
        let summary = Summary {
            files: files.len(),
            passed: count(Verdict::Pass),
            in_violation: count(Verdict::Violation),
            not_decided: count(Verdict::CannotTell),
            ..Summary::default()
        };
        Report { schema_version: SCHEMA_VERSION, tool: TOOL, verdict, summary, files }
    }

    /// Says what was met and not judged, so that a folder without programs is not mistaken for one that passes.
    pub fn with_skipped(mut self, not_elf: usize, seen_before: usize) -> Report {
        self.summary.not_elf = not_elf;
        self.summary.seen_before = seen_before;
        self
    }

    /// Pretty, with a newline at the end.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Aligned lines.
    pub fn to_human(&self, style: Style) -> String {
        human::render(self, style)
    }

    /// SARIF 2.1.0, as code scanning services read it.
    pub fn to_sarif(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(&sarif::log(self))? + "\n")
    }

    /// JUnit's XML: a suite a file, a case a rule.
    pub fn to_junit(&self) -> String {
        junit::render(self)
    }

    /// Workflow commands that GitHub Actions turns into annotations.
    pub fn to_github(&self) -> String {
        github::annotations(self)
    }

    /// Markdown for the page of a GitHub Actions run.
    pub fn to_step_summary(&self) -> String {
        github::step_summary(self)
    }
}

/// A violation outweighs everything: it is known. Nothing judged at all is not a pass.
fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let verdicts: Vec<Verdict> = verdicts.collect();
    match verdicts {
        _ if verdicts.contains(&Verdict::Violation) => Verdict::Violation,
        _ if verdicts.is_empty() || verdicts.contains(&Verdict::CannotTell) => Verdict::CannotTell,
        _ => Verdict::Pass,
    }
}

/// `1 file`, `2 files`.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}
