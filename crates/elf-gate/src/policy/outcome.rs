//! The result of one rule for one file.

use serde::{Deserialize, Serialize};

use crate::policy::date::Date;

/// Whether a rule holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The rule holds.
    Pass,
    /// The rule is violated.
    Violation,
    /// The evidence is missing. Never a pass.
    CannotTell,
}

/// How much a rule that does not pass weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Reported; the file passes.
    Note,
    /// Reported as a warning; the file passes.
    Warning,
    /// The file does not pass.
    #[default]
    Error,
}

/// The exception that accepts a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waived {
    /// Why the verdict is acceptable.
    pub reason: String,
    /// The last day of a waiver. `None` for a `cannot_tell` reason: a missing table does not come back with time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
}

/// The result of one rule for one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleOutcome {
    /// Name of the rule.
    pub rule: &'static str,
    /// From the policy.
    pub severity: Severity,
    /// From the bytes, independent of waivers and severities.
    pub verdict: Verdict,
    /// What the policy requires.
    pub expected: String,
    /// What the file has.
    pub found: String,
    /// What to do. Empty for a pass.
    pub hint: String,
    /// The exception that accepts the verdict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waived>,
}

impl RuleOutcome {
    /// The verdict after waivers and severities: only an unwaived error stops a file.
    pub fn effective(&self) -> Verdict {
        match self.severity {
            Severity::Error if self.waived.is_none() => self.verdict,
            _ => Verdict::Pass,
        }
    }
}
