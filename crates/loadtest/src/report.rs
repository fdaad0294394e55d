use std::fmt::Write as _;

use diag::{Code, Diagnostic, Diagnostics};
use serde::Serialize;

use crate::{Check, Curve, NOT_MEASURED};

/// Version of the JSON document; raised when a field changes its meaning or is removed.
const SCHEMA_VERSION: u32 = 1;

/// What one scenario observed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioReport {
    /// Name of the scenario.
    pub scenario: String,
    /// Every check, in the order in which it was made.
    pub checks: Vec<Check>,
    /// Memory over time, if the scenario measures it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
}

impl ScenarioReport {
    /// One line for each check: outcome, name, observed value.
    pub fn human(&self) -> String {
        let mut text = format!("{}\n", self.scenario);
        if let Some(curve) = &self.curve {
            text.push_str(&curve.plot());
        }
        for check in &self.checks {
            let outcome = if check.passed() { "pass" } else { "FAIL" };
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {outcome}  {:<34} {}", check.name(), check.found());
        }
        text
    }

    /// The violations; a scenario without a check is not a pass.
    pub fn problems(&self) -> Vec<Diagnostic> {
        if self.checks.is_empty() {
            return vec![Diagnostic::new(&NOT_MEASURED, "the scenario made no check").stage(&self.scenario)];
        }
        self.checks.iter().filter_map(|check| check.violation(&self.scenario)).collect()
    }

    /// Codes of the checks that do not hold.
    pub fn violated(&self) -> Vec<&'static Code> {
        self.problems().iter().map(Diagnostic::code).collect()
    }
}

/// All scenarios of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    schema_version: u32,
    scenarios: Vec<ScenarioReport>,
}

impl Report {
    /// A run of these scenarios.
    pub fn new(scenarios: Vec<ScenarioReport>) -> Self {
        Self { schema_version: SCHEMA_VERSION, scenarios }
    }

    /// Every problem of every scenario; a run without a scenario is not a pass.
    pub fn problems(&self) -> Diagnostics {
        if self.scenarios.is_empty() {
            return Diagnostics(vec![Diagnostic::new(&NOT_MEASURED, "no scenario was run")]);
        }
        self.scenarios.iter().flat_map(ScenarioReport::problems).collect()
    }

    /// One JSON document: every check with its code, expectation and observation, then the problems.
    pub fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            report: &'a Report,
            diagnostics: Diagnostics,
        }
        let document = Document { report: self, diagnostics: self.problems() };
        serde_json::to_string_pretty(&document).map(|text| text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LATENCY;

    fn report(passed: bool) -> Report {
        let checks = vec![Check::new(&LATENCY, "p99 of accepted requests", passed, "at most 90 ms", "80 ms")];
        Report::new(vec![ScenarioReport { scenario: "overload".into(), checks, curve: None }])
    }

    #[test]
    fn a_passing_report_has_no_problem() {
        assert!(report(true).problems().0.is_empty());
        insta::assert_snapshot!(report(true).scenarios[0].human(), @r"
        overload
          pass  p99 of accepted requests           80 ms
        ");
    }

    #[test]
    fn a_violation_names_scenario_check_expectation_and_fix() {
        let problems = report(false).problems();
        assert_eq!(diag::exit_code(&problems.0), 1);
        insta::assert_snapshot!(diag::render::human(&problems.0, diag::render::Style::default()));
    }

    #[test]
    fn json_has_every_check_and_the_problems() {
        insta::assert_snapshot!(report(false).json().unwrap());
    }

    #[test]
    fn rejects_a_run_without_scenarios_or_checks() {
        let empty =
            Report::new(vec![ScenarioReport { scenario: "drain".into(), ..ScenarioReport::default() }]);
        for report in [Report::new(Vec::new()), empty] {
            assert_eq!(diag::exit_code(&report.problems().0), 2);
        }
    }
}
