//! The formats of a report.

use crate::report::human::{self, Style};
use crate::report::model::GateReport;
use crate::report::{github, junit, sarif};

impl GateReport {
    /// Indented JSON with a newline at the end.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Aligned lines for a terminal.
    pub fn to_human(&self, style: Style) -> String {
        human::render(self, style)
    }

    /// SARIF 2.1.0, for code scanning services.
    pub fn to_sarif(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(&sarif::log(self))? + "\n")
    }

    /// JUnit XML: a suite for each file, a case for each rule.
    pub fn to_junit(&self) -> String {
        junit::render(self)
    }

    /// Workflow commands that GitHub Actions turns into annotations.
    pub fn to_github(&self) -> String {
        github::annotations(self)
    }

    /// Markdown for the summary page of a GitHub Actions run.
    pub fn to_step_summary(&self) -> String {
        github::step_summary(self)
    }
}
