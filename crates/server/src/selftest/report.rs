//! The result of a self-test, for people and for the pipeline.
//!
//! The JSON form is read by the stage that proves the packed file: a new field is fine, a change of meaning raises `schema`.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{Outcome, Verdict};
use crate::build_info::{self, BuildInfo};

const SCHEMA: u32 = 1;

#[derive(Debug, Serialize)]
pub struct Report {
    schema: u32,
    ok: bool,
    version: BuildInfo,
    /// What the linked library says of itself, to be held against `version`.
    openblas: OpenBlas,
    checks: Vec<CheckResult>,
    /// A check never came back: its thread is still there, and an orderly exit would wait for it.
    #[serde(skip)]
    pub hung: bool,
}

#[derive(Debug, Serialize)]
struct OpenBlas {
    config: String,
    core: String,
    processors: usize,
}

#[derive(Debug, Serialize)]
struct CheckResult {
    name: &'static str,
    verdict: Verdict,
    expected: String,
    found: String,
    time_ms: f64,
}

impl Report {
    pub(super) fn new() -> Self {
        let openblas = OpenBlas {
            config: openblas_sys::config(),
            core: openblas_sys::core_name(),
            processors: openblas_sys::num_processors(),
        };
        Self {
            schema: SCHEMA,
            ok: true,
            version: build_info::get(),
            openblas,
            checks: Vec::new(),
            hung: false,
        }
    }

    pub(super) fn add(&mut self, name: &'static str, outcome: Outcome, time: Duration) {
        self.ok &= outcome.verdict == Verdict::Pass;
        let Outcome { verdict, expected, found } = outcome;
        let time_ms = (time.as_secs_f64() * 1e6).round() / 1e3;
        self.checks.push(CheckResult { name, verdict, expected, found, time_ms });
    }

    /// The house rule: 0 all passed, 1 a check failed, 2 something was not measured.
    pub fn exit_code(&self) -> u8 {
        let any = |verdict| self.checks.iter().any(|check| check.verdict == verdict);
        if any(Verdict::Fail) {
            1
        } else if any(Verdict::NotMeasured) || self.checks.is_empty() {
            2
        } else {
            0
        }
    }

    pub fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string_pretty(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} selftest", build_info::NAME, build_info::short())?;
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        for check in &self.checks {
            let verdict = match check.verdict {
                Verdict::Pass => "pass",
                Verdict::Fail => "FAIL",
                Verdict::NotMeasured => "not measured",
            };
            writeln!(
                f,
                "  {verdict:<12}  {:<width$}  {:>9.1} ms  {}",
                check.name, check.time_ms, check.found
            )?;
            if check.verdict != Verdict::Pass && !check.expected.is_empty() {
                writeln!(f, "{:14}{:<width$}  expected: {}", "", "", check.expected)?;
            }
        }
        let count = |verdict| self.checks.iter().filter(|check| check.verdict == verdict).count();
        write!(
            f,
            "{} passed, {} failed, {} not measured",
            count(Verdict::Pass),
            count(Verdict::Fail),
            count(Verdict::NotMeasured)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let mut report = Report::new();
        for verdict in verdicts {
            let outcome = Outcome { verdict: *verdict, expected: "e".into(), found: "f".into() };
            report.add("check", outcome, Duration::from_micros(1500));
        }
        report
    }

    #[test]
    fn a_failure_outweighs_what_was_not_measured_and_nothing_measured_is_no_pass() {
        use Verdict::*;
        assert_eq!(report(&[Pass, Pass]).exit_code(), 0);
        assert_eq!(report(&[Pass, NotMeasured, Fail]).exit_code(), 1);
        assert_eq!(report(&[Pass, NotMeasured]).exit_code(), 2);
        assert_eq!(report(&[]).exit_code(), 2);
        assert!(!report(&[Pass, NotMeasured]).ok);
    }

    #[test]
    fn the_json_form_has_the_promised_fields() {
        let json: serde_json::Value =
            serde_json::from_str(&report(&[Verdict::NotMeasured]).json().unwrap()).unwrap();
        assert_eq!(json["schema"], 1);
        assert_eq!(json["ok"], false);
        assert_eq!(json["version"]["name"], "inferd");
        assert_eq!(json["checks"][0]["verdict"], "not-measured");
        assert_eq!(json["checks"][0]["time_ms"], 1.5);
    }
}
