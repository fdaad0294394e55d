//! A check and its result.

use serde::Serialize;

/// Status of a check. Only `Pass` counts as passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckStatus {
    Pass,
    Fail,
    /// The property could not be measured on this machine.
    NotMeasured,
}

/// Result of a check.
#[derive(Debug, Clone)]
pub struct CheckResult {
    pub status: CheckStatus,
    pub expected: String,
    pub found: String,
}

impl CheckResult {
    /// The result of a measurement.
    pub fn of(pass: bool, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let status = if pass { CheckStatus::Pass } else { CheckStatus::Fail };
        Self { status, expected: expected.into(), found: found.into() }
    }

    /// No measurement, for this reason.
    pub fn not_measured(expected: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { status: CheckStatus::NotMeasured, expected: expected.into(), found: reason.into() }
    }
}

/// A check with its name in the report.
pub struct SelftestCheck {
    pub name: &'static str,
    pub run: fn() -> CheckResult,
}
