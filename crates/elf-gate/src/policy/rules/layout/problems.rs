//! The violations that one rule finds in one file.

use std::fmt::Display;

use crate::policy::check_result::CheckResult;

/// The violations, each as `subject: expected X, found Y`.
#[derive(Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    pub(super) fn add(&mut self, problem: impl Display) {
        // A hostile file has tens of thousands of headers; the report lists the first ones.
        const KEPT: usize = 64;
        if self.0.len() < KEPT {
            self.0.push(problem.to_string());
        }
    }

    /// Adds a violation unless `holds`. The texts are formatted only then.
    pub(super) fn require(
        &mut self,
        holds: bool,
        subject: impl Display,
        expected: impl Display,
        found: impl Display,
    ) {
        if !holds {
            self.add(format_args!("{subject}: expected {expected}, found {found}"));
        }
    }

    pub(super) fn result(self, expected: &str) -> CheckResult {
        CheckResult::pass_if_none(self.0, expected)
    }
}

/// A number in hexadecimal.
pub(super) struct Hex(pub(super) u64);

impl Display for Hex {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}
