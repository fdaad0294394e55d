//! The report of the self-test, as text and as JSON.
//!
//! The release pipeline reads the JSON form: new fields are allowed, a change of meaning increments `schema`.

use std::fmt;
use std::time::Duration;

use diag::Diagnostic;
use serde::Serialize;

use super::check::{CheckResult, CheckStatus};
use crate::build_info::{self, BuildInfo};
use crate::codes;

const SCHEMA: u32 = 1;

/// The results of all checks.
#[derive(Debug, Serialize)]
pub struct SelftestReport {
    schema: u32,
    ok: bool,
    version: BuildInfo,
    /// The properties that the linked library reports, to compare with `version`.
    openblas: OpenBlas,
    checks: Vec<CheckEntry>,
    /// Checks that the command line left out.
    skipped: Vec<&'static str>,
    /// The thread of a check hangs; a regular exit would wait for it.
    #[serde(skip)]
    hung: bool,
}

#[derive(Debug, Serialize)]
struct OpenBlas {
    config: String,
    core: String,
    processors: usize,
}

#[derive(Debug, Serialize)]
struct CheckEntry {
    name: &'static str,
    /// The JSON key is part of the schema.
    #[serde(rename = "verdict")]
    status: CheckStatus,
    expected: String,
    found: String,
    time_ms: f64,
}

impl SelftestReport {
    /// A report without results.
    pub fn new() -> Self {
        let openblas = OpenBlas {
            config: openblas_sys::config(),
            core: openblas_sys::core_name(),
            processors: openblas_sys::num_processors(),
        };
        Self {
            schema: SCHEMA,
            // A report without a check shows nothing.
            ok: false,
            version: build_info::get(),
            openblas,
            checks: Vec::new(),
            skipped: Vec::new(),
            hung: false,
        }
    }

    /// Adds a result.
    pub fn add(&mut self, name: &'static str, result: CheckResult, time: Duration) {
        self.ok = (self.ok || self.checks.is_empty()) && result.status == CheckStatus::Pass;
        let CheckResult { status, expected, found } = result;
        let time_ms = (time.as_secs_f64() * 1e6).round() / 1e3;
        self.checks.push(CheckEntry { name, status, expected, found, time_ms });
    }

    /// Records the checks that the command line left out.
    pub fn set_skipped(&mut self, names: Vec<&'static str>) {
        self.skipped = names;
    }

    /// Records that the thread of a check hangs.
    pub fn set_hung(&mut self) {
        self.hung = true;
    }

    /// Whether the thread of a check hangs.
    pub fn is_hung(&self) -> bool {
        self.hung
    }

    /// 0: all checks passed; 1: a check failed; 2: a check was not measured.
    pub fn exit_code(&self) -> u8 {
        let any = |status| self.checks.iter().any(|check| check.status == status);
        if any(CheckStatus::Fail) {
            1
        } else if any(CheckStatus::NotMeasured) || self.checks.is_empty() {
            2
        } else {
            0
        }
    }

    /// The JSON form.
    pub fn json(&self) -> Result<String, Diagnostic> {
        serde_json::to_string_pretty(self).map_err(|error| {
            codes::caused(&codes::INTERNAL_ERROR, "cannot encode the report as JSON", &error)
        })
    }
}

impl fmt::Display for SelftestReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} selftest", build_info::NAME, build_info::short())?;
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        for check in &self.checks {
            let status = match check.status {
                CheckStatus::Pass => "pass",
                CheckStatus::Fail => "FAIL",
                CheckStatus::NotMeasured => "not measured",
            };
            writeln!(
                f,
                "  {status:<12}  {:<width$}  {:>9.1} ms  {}",
                check.name, check.time_ms, check.found
            )?;
            if check.status != CheckStatus::Pass && !check.expected.is_empty() {
                writeln!(f, "{:14}{:<width$}  expected: {}", "", "", check.expected)?;
            }
        }
        let count = |status| self.checks.iter().filter(|check| check.status == status).count();
        write!(
            f,
            "{} passed, {} failed, {} not measured",
            count(CheckStatus::Pass),
            count(CheckStatus::Fail),
            count(CheckStatus::NotMeasured)
        )?;
        match self.skipped.as_slice() {
            [] => Ok(()),
            skipped => write!(f, ", {} skipped: {}", skipped.len(), skipped.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(statuses: &[CheckStatus]) -> SelftestReport {
        let mut report = SelftestReport::new();
        for status in statuses {
            let result = CheckResult { status: *status, expected: "e".into(), found: "f".into() };
            report.add("check", result, Duration::from_micros(1500));
        }
        report
    }

    #[test]
    fn a_failure_outranks_not_measured_and_no_check_is_no_pass() {
        use CheckStatus::*;
        assert_eq!(report(&[Pass, Pass]).exit_code(), 0);
        assert_eq!(report(&[Pass, NotMeasured, Fail]).exit_code(), 1);
        assert_eq!(report(&[Pass, NotMeasured]).exit_code(), 2);
        assert_eq!(report(&[]).exit_code(), 2);
        assert!(!report(&[Pass, NotMeasured]).ok);
    }

    #[test]
    fn json_has_the_fields_of_the_schema() {
        let json: serde_json::Value =
            serde_json::from_str(&report(&[CheckStatus::NotMeasured]).json().unwrap()).unwrap();
        assert_eq!(
            (&json["schema"], &json["ok"], &json["version"]["name"]),
            (&1.into(), &false.into(), &"inferd".into())
        );
        insta::assert_snapshot!(json["checks"][0], @r#"{"expected":"e","found":"f","name":"check","time_ms":1.5,"verdict":"not-measured"}"#);
    }

    #[test]
    fn text_shows_the_expectation_of_checks_that_did_not_pass() {
        let text = report(&[CheckStatus::Pass, CheckStatus::Fail]).to_string();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        insta::assert_snapshot!(lines.join("\n"), @r"
          pass          check        1.5 ms  f
          FAIL          check        1.5 ms  f
                             expected: e
        1 passed, 1 failed, 0 not measured
        ");
    }
}
