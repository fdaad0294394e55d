//! The result of one expectation on the output of a run.

use std::time::Duration;

use super::Conclusion;

/// One expectation on the output, and what was found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ProofCheck {
    /// The name in a report; the other expectations have none.
    pub name: Option<String>,
    pub conclusion: Conclusion,
    pub expected: String,
    pub found: String,
    /// As the report says; otherwise the time of the run.
    pub elapsed: Option<Duration>,
}

impl ProofCheck {
    pub(super) fn new(holds: bool, expected: impl Into<String>, found: impl Into<String>) -> Self {
        let conclusion = if holds { Conclusion::Holds } else { Conclusion::Violated };
        Self { name: None, conclusion, expected: expected.into(), found: found.into(), elapsed: None }
    }
}
