use std::fmt::Write as _;

use diag::{Code, Diagnostic, Diagnostics};
use serde::Serialize;

use crate::{Curve, NOT_MEASURED, ScenarioCheck};

/// Version of the JSON document; raised when a field changes its meaning or is removed.
const SCHEMA_VERSION: u32 = 1;

/// What one scenario observed.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ScenarioReport {
    /// Name of the scenario.
    pub scenario: String,
    /// Every check, in the order in which it was made.
    pub checks: Vec<ScenarioCheck>,
    /// Why the scenario ended without a result.
    #[serde(skip)]
    pub errors: Diagnostics,
    /// Time that it took.
    pub seconds: f64,
    /// The largest resident memory of its servers, if one was observed.
    pub peak_resident_bytes: Option<u64>,
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
        if !self.errors.0.is_empty() {
            return self.errors.0.clone();
        }
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
pub struct LoadReport {
    schema_version: u32,
    scenarios: Vec<ScenarioReport>,
}

impl LoadReport {
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

    /// A table with one row for each scenario, and their sum.
    pub fn summary(&self) -> String {
        let width = self
            .scenarios
            .iter()
            .map(|report| report.scenario.len())
            .max()
            .unwrap_or(0)
            .max("scenario".len());
        let mut text = String::new();
        let mut row = |name: &str, counts: [usize; 3], seconds: f64, peak: Option<u64>, note: &str| {
            let [checks, passed, failed] = counts;
            let peak = peak.map_or("-".into(), |bytes| format!("{:.1} MiB", bytes as f64 / 1048576.0));
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{name:width$}  {checks:>6}  {passed:>6}  {failed:>6}  {seconds:>7.1} s  {peak:>11}{note}"
            );
        };
        let mut sum = ([0; 3], 0.0, None);
        for report in &self.scenarios {
            let passed = report.checks.iter().filter(|check| check.passed()).count();
            let counts = [report.checks.len(), passed, report.checks.len() - passed];
            let note = if report.checks.is_empty() { "  not measured" } else { "" };
            row(&report.scenario, counts, report.seconds, report.peak_resident_bytes, note);
            sum.0.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
            sum.1 += report.seconds;
            sum.2 = sum.2.max(report.peak_resident_bytes);
        }
        row("all", sum.0, sum.1, sum.2, "");
        let head = format!("{:width$}  checks  passed  failed       time     peak RSS\n", "scenario");
        head + &text
    }

    /// One JSON document: every check with its code, expectation and observation, then the problems.
    pub fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Document<'a> {
            #[serde(flatten)]
            report: &'a LoadReport,
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

    fn report(passed: bool) -> LoadReport {
        let checks =
            vec![ScenarioCheck::new(&LATENCY, "p99 of accepted requests", passed, "at most 90 ms", "80 ms")];
        LoadReport::new(vec![ScenarioReport {
            scenario: "overload".into(),
            checks,
            seconds: 312.25,
            peak_resident_bytes: Some(96 << 20),
            ..ScenarioReport::default()
        }])
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
    fn the_summary_counts_checks_and_names_what_was_not_measured() {
        let mut report = report(false);
        report.scenarios.push(ScenarioReport { scenario: "drain".into(), ..ScenarioReport::default() });
        insta::assert_snapshot!(report.summary(), @r"
        scenario  checks  passed  failed       time     peak RSS
        overload       1       0       1    312.2 s     96.0 MiB
        drain          0       0       0      0.0 s            -  not measured
        all            1       0       1    312.2 s     96.0 MiB
        ");
    }

    #[test]
    fn json_has_every_check_and_the_problems() {
        insta::assert_snapshot!(report(false).json().unwrap());
    }

    #[test]
    fn rejects_a_run_without_scenarios_or_checks() {
        let empty =
            LoadReport::new(vec![ScenarioReport { scenario: "drain".into(), ..ScenarioReport::default() }]);
        for report in [LoadReport::new(Vec::new()), empty] {
            assert_eq!(diag::exit_code(&report.problems().0), 2);
        }
    }
}
