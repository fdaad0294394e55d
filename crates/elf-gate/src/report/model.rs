//! The report: results of many files, and problems of the run itself.

use diag::{Class, Diagnostic};
use serde::Serialize;

use crate::policy::{RuleOutcome, Severity, Stage, Verdict};

/// Incremented when a field changes its meaning or is removed. `schemas/elf-gate-report-N.schema.json` describes the fields.
pub const SCHEMA_VERSION: u32 = 1;

/// Results of a run. Unreadable files and problems of the run are part of it, so that every format is complete and valid
/// when a run fails.
#[derive(Debug, Clone, Serialize)]
pub struct GateReport {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name and version of the gate.
    pub tool: Tool,
    /// The worst verdict of all files and diagnostics.
    pub verdict: Verdict,
    /// Counts.
    pub summary: Summary,
    /// The policies that the files were judged by. Empty for reports of programs that choose no policy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<PolicyUse>,
    /// One entry for each file.
    pub files: Vec<FileReport>,
    /// Problems of the run that belong to no file.
    pub diagnostics: Vec<Diagnostic>,
}

/// A policy, and how it was selected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyUse {
    /// How it was selected.
    pub source: PolicySource,
    /// Path of the file, or name of the preset.
    pub name: String,
    /// Number of ELF files that it was used for.
    pub files: usize,
    /// The size of PT_GNU_STACK that replaces the one of the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack_size_bytes: Option<u64>,
}

/// How a policy was selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicySource {
    /// The file of a flag.
    File,
    /// The preset of a flag.
    Preset,
    /// A file in the folder of the judged files. It comes from the same source as they do.
    BesideFiles,
    /// The preset that applies without flags and without such a file.
    Default,
}

/// Name and version of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// `elf-gate`.
    pub name: &'static str,
    /// Version of the crate.
    pub version: &'static str,
}

pub(super) const TOOL: Tool = Tool { name: "elf-gate", version: env!("CARGO_PKG_VERSION") };

/// Counts of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Files in the report.
    pub files: usize,
    /// Files that pass.
    pub passed: usize,
    /// Files with a violation.
    pub failed: usize,
    /// Files without a verdict.
    pub undecided: usize,
    /// Files in folders and archives that are not ELF files.
    pub not_elf: usize,
    /// Further names of files that are in the report.
    pub duplicates: usize,
}

/// The result of one file.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// The name that the user gave, or that a walk found. A member follows its container: `a.tar!bin/tool`.
    pub file: String,
    /// The file on disk, when `file` is a member of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// Choices that no flag states.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The judgement, or why there is none.
    #[serde(flatten)]
    pub state: FileState,
}

/// The judgement of a file, or why there is none.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum FileState {
    /// The file was judged.
    Judged {
        /// The stage whose rules apply.
        stage: Stage,
        /// Why this stage was chosen, when no flag names one.
        #[serde(skip_serializing_if = "Option::is_none")]
        stage_reason: Option<String>,
        /// Size of the file.
        size_bytes: u64,
        /// The worst effective verdict.
        verdict: Verdict,
        /// One outcome for each enabled rule.
        rules: Vec<RuleOutcome>,
    },
    /// The file is an image, and its layers were judged.
    Image {
        /// What the image runs.
        image: ImageSummary,
        /// The worst effective verdict.
        verdict: Verdict,
        /// One outcome for each rule on images.
        rules: Vec<RuleOutcome>,
    },
    /// The file yields no facts.
    Unreadable {
        /// Always [`Verdict::CannotTell`].
        verdict: Verdict,
        /// The reason.
        error: Diagnostic,
    },
}

/// What an image runs.
#[derive(Debug, Clone, Serialize)]
pub struct ImageSummary {
    /// Path of the program in the image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

impl FileReport {
    /// An image that was judged.
    pub fn image(file: impl Into<String>, program: Option<String>, rules: Vec<RuleOutcome>) -> FileReport {
        let verdict = worst(rules.iter().map(RuleOutcome::effective));
        let state = FileState::Image { image: ImageSummary { program }, verdict, rules };
        FileReport { file: file.into(), container: None, notes: Vec::new(), state }
    }

    /// A file that was judged.
    pub fn judged(
        file: impl Into<String>,
        stage: Stage,
        stage_reason: Option<String>,
        size_bytes: u64,
        rules: Vec<RuleOutcome>,
    ) -> FileReport {
        let verdict = worst(rules.iter().map(RuleOutcome::effective));
        let state = FileState::Judged { stage, stage_reason, size_bytes, verdict, rules };
        FileReport { file: file.into(), container: None, notes: Vec::new(), state }
    }

    /// A file without a verdict, which is never a pass.
    pub fn unreadable(file: impl Into<String>, error: Diagnostic) -> FileReport {
        let state = FileState::Unreadable { verdict: Verdict::CannotTell, error };
        FileReport { file: file.into(), container: None, notes: Vec::new(), state }
    }

    /// The worst effective verdict.
    pub fn verdict(&self) -> Verdict {
        match self.state {
            FileState::Judged { verdict, .. }
            | FileState::Image { verdict, .. }
            | FileState::Unreadable { verdict, .. } => verdict,
        }
    }

    /// The path on disk, to which services link.
    pub(super) fn path_on_disk(&self) -> &str {
        self.container.as_deref().unwrap_or(&self.file)
    }

    /// The outcomes that are not passes.
    pub(super) fn exceptions(&self) -> impl Iterator<Item = (&RuleOutcome, OutcomeStatus)> {
        let rules = match &self.state {
            FileState::Judged { rules, .. } | FileState::Image { rules, .. } => &rules[..],
            FileState::Unreadable { .. } => &[],
        };
        let statuses = rules.iter().map(|outcome| (outcome, OutcomeStatus::of(outcome)));
        statuses.filter(|(_, status)| *status != OutcomeStatus::Pass)
    }
}

/// How an outcome counts, after waivers and severities. All formats use this classification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OutcomeStatus {
    Pass,
    Violation,
    CannotTell,
    /// Not a pass, accepted by the policy.
    Waived,
    /// Not a pass, with severity `warning`.
    Warning,
    /// Not a pass, with severity `note`.
    Note,
}

impl OutcomeStatus {
    pub(super) fn of(outcome: &RuleOutcome) -> OutcomeStatus {
        match (outcome.verdict, outcome.severity) {
            (Verdict::Pass, _) => OutcomeStatus::Pass,
            _ if outcome.waived.is_some() => OutcomeStatus::Waived,
            (_, Severity::Warning) => OutcomeStatus::Warning,
            (_, Severity::Note) => OutcomeStatus::Note,
            (Verdict::Violation, Severity::Error) => OutcomeStatus::Violation,
            (Verdict::CannotTell, Severity::Error) => OutcomeStatus::CannotTell,
        }
    }
}

impl GateReport {
    /// A report of these files.
    pub fn new(files: Vec<FileReport>) -> GateReport {
        let count = |verdict: Verdict| files.iter().filter(|file| file.verdict() == verdict).count();
        let summary = Summary {
            files: files.len(),
            passed: count(Verdict::Pass),
            failed: count(Verdict::Violation),
            undecided: count(Verdict::CannotTell),
            ..Summary::default()
        };
        let verdict = worst(files.iter().map(FileReport::verdict));
        let diagnostics = Vec::new();
        let policies = Vec::new();
        GateReport {
            schema_version: SCHEMA_VERSION,
            tool: TOOL,
            verdict,
            summary,
            policies,
            files,
            diagnostics,
        }
    }

    /// Adds the policies that were used.
    #[must_use]
    pub fn with_policies(mut self, policies: Vec<PolicyUse>) -> GateReport {
        self.policies = policies;
        self
    }

    /// Adds the counts of files that were not judged, so that a folder without programs does not look like a pass.
    #[must_use]
    pub fn with_skipped(mut self, not_elf: usize, duplicates: usize) -> GateReport {
        self.summary.not_elf = not_elf;
        self.summary.duplicates = duplicates;
        self
    }

    /// Adds problems that belong to no file. They count for the verdict.
    #[must_use]
    pub fn with_diagnostics(mut self, diagnostics: Vec<Diagnostic>) -> GateReport {
        self.diagnostics.extend(diagnostics);
        let of_run = self.diagnostics.iter().map(|diagnostic| match diagnostic.code().class {
            Class::Violation => Verdict::Violation,
            _ => Verdict::CannotTell,
        });
        self.verdict = worst(self.files.iter().map(FileReport::verdict).chain(of_run));
        self
    }
}

/// A violation outweighs the other verdicts, because it is certain. An empty report is not a pass.
fn worst(verdicts: impl Iterator<Item = Verdict>) -> Verdict {
    let verdicts: Vec<Verdict> = verdicts.collect();
    match verdicts {
        _ if verdicts.contains(&Verdict::Violation) => Verdict::Violation,
        _ if verdicts.is_empty() || verdicts.contains(&Verdict::CannotTell) => Verdict::CannotTell,
        _ => Verdict::Pass,
    }
}
