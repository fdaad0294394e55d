//! Results of the steps, as a table and as diagnostics.

use std::fmt::Write as _;
use std::time::Duration;

use diag::{Diagnostic, Diagnostics, Severity};
use serde_json::{Value, json};

use super::{LINT_TOOL_MISSING, LINT_VIOLATED};

pub enum Status {
    Pass,
    Violated,
    /// With the reason: an error, or a warning where the step is optional.
    NotMeasured(Diagnostic),
}

impl Status {
    /// A tool that cannot be installed is the result of its step. Any other error, such as Ctrl-C, ends the run.
    pub fn from_installation_error(error: anyhow::Error) -> anyhow::Result<Self> {
        let found = diag::collect(&error).into_iter().find(|found| found.code() == &LINT_TOOL_MISSING);
        found.map(Self::NotMeasured).ok_or(error)
    }

    /// The same result for a step that this machine need not be able to make: what is not measured is a warning.
    pub fn optional(self) -> Self {
        match self {
            Self::NotMeasured(reason) => Self::NotMeasured(reason.warning()),
            measured => measured,
        }
    }

    /// The worse of two results of one step: a known violation outweighs an unknown.
    pub fn and(self, other: Self) -> Self {
        let weight = |status: &Self| match status {
            Self::Pass => 0,
            Self::NotMeasured(_) => 1,
            Self::Violated => 2,
        };
        if weight(&other) > weight(&self) { other } else { self }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Violated => "violated",
            Self::NotMeasured(_) => "not measured",
        }
    }
}

pub struct Row {
    pub step: &'static str,
    pub status: Status,
    pub elapsed: Duration,
    /// The repair of a violation.
    pub hint: &'static str,
}

#[derive(Default)]
pub struct LintReport(Vec<Row>);

impl LintReport {
    pub fn push(&mut self, row: Row) {
        self.0.push(row);
    }

    pub fn table(&self) -> String {
        let mut text = format!("\n{:<20} {:<13} {:>8}\n", "step", "result", "seconds");
        for Row { step, status, elapsed, .. } in &self.0 {
            let _ = writeln!(text, "{step:<20} {:<13} {:>8.1}", status.name(), elapsed.as_secs_f64());
        }
        text
    }

    /// The table and all diagnostics, warnings too, as data.
    pub fn json(&self) -> Value {
        let row = |Row { step, status, elapsed, .. }: &Row| json!({ "step": step, "result": status.name(), "seconds": elapsed.as_secs_f64() });
        let steps: Vec<Value> = self.0.iter().map(row).collect();
        json!({ "steps": steps, "diagnostics": self.diagnostics().collect::<Vec<_>>() })
    }

    /// Violations and failed measurements. The violation of any step decides the exit status.
    pub fn errors(&self) -> Diagnostics {
        self.diagnostics().filter(|found| found.fields().severity == Severity::Error).collect()
    }

    pub fn warnings(&self) -> Vec<Diagnostic> {
        self.diagnostics().filter(|found| found.fields().severity != Severity::Error).collect()
    }

    fn diagnostics(&self) -> impl Iterator<Item = Diagnostic> {
        self.0.iter().filter_map(|row| match &row.status {
            Status::Pass => None,
            Status::Violated => Some(
                Diagnostic::new(&LINT_VIOLATED, format!("`{}` found violations", row.step))
                    .rule(row.step)
                    .hint(row.hint),
            ),
            Status::NotMeasured(reason) => Some(reason.clone().rule(row.step)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::LINT_NOT_MEASURED;

    fn row(step: &'static str, status: Status) -> Row {
        Row { step, status, elapsed: Duration::from_millis(1234), hint: "repair it" }
    }

    fn not_measured() -> Status {
        Status::NotMeasured(Diagnostic::new(&LINT_NOT_MEASURED, "no database"))
    }

    #[test]
    fn the_table_has_one_line_for_each_step() {
        let report = LintReport(vec![row("format", Status::Pass), row("docs", not_measured())]);
        let expected = "
step                 result         seconds
format               pass               1.2
docs                 not measured       1.2
";
        assert_eq!(report.table(), expected);
    }

    #[test]
    fn data_has_each_step_and_each_problem() {
        let optional = Diagnostic::new(&LINT_NOT_MEASURED, "no database").warning();
        let rows = vec![
            row("format", Status::Violated),
            row("advisories", Status::NotMeasured(optional)),
            row("docs", Status::Pass),
        ];
        insta::assert_snapshot!(format!("{:#}", LintReport(rows).json()), @r#"
        {
          "diagnostics": [
            {
              "code": "lint-violated",
              "hint": "repair it",
              "message": "`format` found violations",
              "rule": "format",
              "severity": "error"
            },
            {
              "code": "lint-not-measured",
              "message": "no database",
              "rule": "advisories",
              "severity": "warning"
            }
          ],
          "steps": [
            {
              "result": "violated",
              "seconds": 1.234,
              "step": "format"
            },
            {
              "result": "not measured",
              "seconds": 1.234,
              "step": "advisories"
            },
            {
              "result": "pass",
              "seconds": 1.234,
              "step": "docs"
            }
          ]
        }
        "#);
    }

    #[test]
    fn a_violation_decides_the_exit_status() {
        let exit_code = |rows| diag::exit_code(&LintReport(rows).errors().0);
        assert_eq!(exit_code(vec![row("a", not_measured()), row("b", Status::Violated)]), 1);
        assert_eq!(exit_code(vec![row("a", not_measured()), row("b", Status::Pass)]), 2);
    }

    #[test]
    fn a_pass_has_no_diagnostics() {
        let report = LintReport(vec![row("a", Status::Pass)]);
        assert!(report.errors().into_result().is_ok());
        assert!(report.warnings().is_empty());
    }

    #[test]
    fn an_optional_step_that_is_not_measured_is_a_warning() {
        let report = LintReport(vec![row("a", not_measured().optional())]);
        assert!(report.errors().into_result().is_ok());
        assert_eq!(report.warnings().len(), 1);
        let report = LintReport(vec![row("a", Status::Violated.optional())]);
        assert!(report.errors().into_result().is_err());
    }

    #[test]
    fn a_known_violation_outweighs_an_unknown() {
        assert_eq!(not_measured().and(Status::Violated).name(), "violated");
        assert_eq!(Status::Violated.and(not_measured()).name(), "violated");
        assert_eq!(Status::Pass.and(not_measured()).name(), "not measured");
    }

    #[test]
    fn errors_other_than_a_missing_tool_end_the_run() {
        let missing = Diagnostic::new(&LINT_TOOL_MISSING, "no network");
        assert!(Status::from_installation_error(missing.into()).is_ok());
        let interrupted = Diagnostic::new(&process::INTERRUPTED, "interrupted");
        assert!(Status::from_installation_error(interrupted.into()).is_err());
    }
}
