//! cargo-nextest: its JUnit report, and the tests that it leaves out.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::Deserialize;
use std::collections::BTreeMap;

use super::Counts;
use crate::plan::Paths;
use process::{Runner, Task};
use store::atomic_write;

/// Our settings for nextest, apart from those of the workspace.
const SETTINGS: &str =
    "nextest-version = { required = \"0.9.50\" }\n\n[profile.default.junit]\npath = \"muslin-junit.xml\"\n";

/// Adds the arguments that make nextest write its report; removes the report of an earlier run. Returns the path.
pub(super) fn prepare(paths: &Paths, command: &mut Command) -> anyhow::Result<PathBuf> {
    let settings = paths.work.join("nextest.toml");
    atomic_write::bytes(&settings, 0o644, SETTINGS.as_bytes())?;
    command.arg("--tool-config-file").arg(format!("muslin:{}", settings.display()));
    // A filter may leave out all tests of one suite.
    command.arg("--no-tests=pass");
    let report = paths.target.join("nextest/default/muslin-junit.xml");
    match std::fs::remove_file(&report) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", report.display()))
        }
        _ => Ok(report),
    }
}

/// The sums at the head of the report; nothing when there is no report, because nothing compiled or no test was chosen.
pub(super) fn counts(report: &Path) -> anyhow::Result<Option<Counts>> {
    match std::fs::read_to_string(report) {
        Ok(text) => Ok(parse(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", report.display())),
    }
}

/// `<testsuites name="…" tests="12" failures="1" errors="0" …>`.
fn parse(report: &str) -> Option<Counts> {
    let head = report.split_once("<testsuites ")?.1.split('>').next()?;
    let attribute = |name: &str| {
        let value = head.split_once(&format!("{name}=\""))?.1.split('"').next()?;
        value.parse::<u64>().ok()
    };
    let failed = attribute("failures")? + attribute("errors")?;
    Some(Counts { passed: attribute("tests")?.checked_sub(failed)?, failed, ignored: None })
}

#[derive(Deserialize)]
struct List {
    #[serde(rename = "rust-suites")]
    suites: BTreeMap<String, Suite>,
}

#[derive(Deserialize)]
struct Suite {
    #[serde(default)]
    testcases: BTreeMap<String, TestCase>,
}

#[derive(Deserialize)]
struct TestCase {
    ignored: bool,
    #[serde(rename = "filter-match")]
    filter_match: FilterMatch,
}

#[derive(Deserialize)]
struct FilterMatch {
    reason: Option<String>,
}

/// How many tests are marked `#[ignore]`; the report does not have them. None when `list`, a `cargo nextest list`, fails or
/// prints something else than a list.
pub(super) fn ignored(runner: &Runner, mut list: Command) -> anyhow::Result<Option<u64>> {
    list.args(["--message-format", "json"]);
    let output = runner.output(Task::new("list the tests", list).inherit_stderr(true))?;
    Ok(if output.status.success() { count_ignored(&output.stdout) } else { None })
}

fn count_ignored(list: &[u8]) -> Option<u64> {
    let list: List = serde_json::from_slice(list).ok()?;
    let tests = list.suites.values().flat_map(|suite| suite.testcases.values());
    // A test that the filter leaves out has another reason.
    let ignored = tests.filter(|test| test.ignored && test.filter_match.reason.as_deref() == Some("ignored"));
    Some(ignored.count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_sums_of_a_report() {
        let report = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <testsuites name=\"nextest-run\" tests=\"12\" failures=\"2\" errors=\"1\" uuid=\"x\" time=\"0.1\">\n\
            <testsuite name=\"a\" tests=\"3\" failures=\"9\" errors=\"0\">";
        assert_eq!(parse(report), Some(Counts { passed: 9, failed: 3, ignored: None }));
        for bad in ["", "<testsuites >", "<testsuites tests=\"1\" failures=\"2\" errors=\"0\">"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn counts_tests_that_are_ignored_but_not_those_that_are_filtered_out() {
        let list = r#"{"rust-suites": {"a": {"testcases": {
            "x": {"ignored": true, "filter-match": {"status": "mismatch", "reason": "ignored"}},
            "y": {"ignored": true, "filter-match": {"status": "mismatch", "reason": "string"}},
            "z": {"ignored": false, "filter-match": {"status": "matches"}}}}, "b": {}}}"#;
        assert_eq!(count_ignored(list.as_bytes()), Some(1));
    }

    #[test]
    fn a_list_that_fails_or_is_no_list_measures_nothing() {
        let runner = Runner::without_signals();
        let ignored = |script: &str| {
            let mut list = Command::new("sh");
            list.args(["-c", script]);
            ignored(&runner, list).unwrap()
        };
        assert_eq!(ignored(r#"echo '{"rust-suites": {}}'"#), Some(0));
        assert_eq!(ignored(r#"echo '{"rust-suites": {}}'; exit 101"#), None);
        assert_eq!(ignored("echo 'error: no such command: `nextest`'"), None);
        assert_eq!(ignored("true"), None);
    }
}
