//! Outcomes of many files as one report: lines for people, or JSON for programs.
//!
//! A file that could not be read is part of the report, so that the JSON stays valid and complete when a run fails.

mod human;

use serde::Serialize;

use crate::policy::{RuleOutcome, Stage, Verdict};

/// Bumped when a field changes its meaning or goes away.
const SCHEMA_VERSION: u32 = 1;

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub schema_version: u32,
    pub verdict: Verdict,
    pub files: Vec<FileReport>,
}

/// What was found out about one file.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    pub file: String,
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
        FileReport { file: file.into(), state }
    }

    /// No verdict is possible; that is never a pass.
    pub fn unreadable(
        file: impl Into<String>,
        error: impl Into<String>,
        hint: impl Into<String>,
    ) -> FileReport {
        let state =
            FileState::Unreadable { verdict: Verdict::CannotTell, error: error.into(), hint: hint.into() };
        FileReport { file: file.into(), state }
    }

    pub fn verdict(&self) -> Verdict {
        match self.state {
            FileState::Judged { verdict, .. } | FileState::Unreadable { verdict, .. } => verdict,
        }
    }
}

impl Report {
    pub fn new(files: Vec<FileReport>) -> Report {
        let verdict = worst(files.iter().map(FileReport::verdict));
        Report { schema_version: SCHEMA_VERSION, verdict, files }
    }

    /// Pretty, with a newline at the end.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Aligned lines; `with_color` only on a terminal.
    pub fn to_human(&self, with_color: bool) -> String {
        human::render(self, with_color)
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
