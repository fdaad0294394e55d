//! The judgement of a declared proof's output. Reads golden files, runs nothing.

use std::path::Path;
use std::time::Duration;

use process::Output;
use serde::Deserialize;

use super::check::ProofCheck;
use super::golden::{VectorGolden, max_distance};
use super::input::{read_input, read_json};
use super::run::exit_text;
use super::{PROOF_INPUT, ProofContext};
use crate::config::{JsonNumbers, ProofCommand};
use diag::Diagnostic;

/// All expectations of a declared proof; the exit status is the first one.
pub(super) fn judge(
    context: &ProofContext,
    declared: &ProofCommand,
    output: &Output,
) -> anyhow::Result<Vec<ProofCheck>> {
    let wanted = declared.exit_code.unwrap_or(0);
    let has_wanted_status = output.shell_code() == wanted;
    let status = if has_wanted_status { format!("exit status {wanted}") } else { exit_text(output) };
    let mut checks = vec![ProofCheck::new(has_wanted_status, format!("exit status {wanted}"), status)];
    if let Some(file) = &declared.equals {
        let golden = read_input(&context.root.join(file))?;
        checks.push(equals(file, &golden, &output.stdout));
    }
    for text in &declared.contains {
        checks.push(contains(&context.expand(text), &output.stdout));
    }
    if let Some(numbers) = &declared.json {
        checks.push(json_numbers(&context.root.join(&numbers.golden), numbers, &output.stdout)?);
    }
    if let Some(lines) = &declared.json_lines {
        let golden = VectorGolden::read(&context.root.join(&lines.golden))?;
        checks.push(golden.judge(lines, &String::from_utf8_lossy(&output.stdout)));
    }
    if declared.report {
        checks.extend(report(&output.stdout, has_wanted_status));
    }
    Ok(checks)
}

/// The first lines of an output, for messages.
fn shortened(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let start: String = text.chars().take(200).collect();
    if start.len() < text.len() { format!("`{start}…`") } else { format!("`{}`", text.trim_end()) }
}

fn equals(file: &Path, golden: &[u8], output: &[u8]) -> ProofCheck {
    let expected = format!("the {} bytes of {}", golden.len(), file.display());
    if golden == output {
        return ProofCheck::new(true, &expected, &expected);
    }
    let same = golden.iter().zip(output).take_while(|(a, b)| a == b).count();
    let line = 1 + output[..same].iter().filter(|byte| **byte == b'\n').count();
    ProofCheck::new(
        false,
        expected,
        format!("{} bytes that differ from line {line} on: {}", output.len(), shortened(output)),
    )
}

fn contains(text: &str, output: &[u8]) -> ProofCheck {
    let holds = String::from_utf8_lossy(output).contains(text);
    let found = if holds { format!("`{text}`") } else { shortened(output) };
    ProofCheck::new(holds, format!("`{text}` in the output"), found)
}

/// A number, or all numbers of a list.
fn numbers(document: &serde_json::Value, path: &str) -> Option<Vec<f64>> {
    match document.pointer(path)? {
        serde_json::Value::Array(list) if !list.is_empty() => {
            list.iter().map(serde_json::Value::as_f64).collect()
        }
        number => Some(vec![number.as_f64()?]),
    }
}

fn json_numbers(golden: &Path, wanted: &JsonNumbers, output: &[u8]) -> anyhow::Result<ProofCheck> {
    let path = &wanted.path;
    let expected_numbers = numbers(&read_json(golden)?, path).ok_or_else(|| {
        Diagnostic::new(&PROOF_INPUT, format!("`{path}` is neither a number nor a list of numbers"))
            .file(golden)
    })?;
    let expected = format!("`{path}` within {:e} of {}", wanted.max_abs, wanted.golden.display());
    let found = match serde_json::from_slice(output) {
        Ok(document) => numbers(&document, path),
        Err(error) => {
            return Ok(ProofCheck::new(false, expected, format!("no JSON document: {error}")));
        }
    };
    Ok(match found {
        Some(found) if found.len() == expected_numbers.len() => {
            let distance = max_distance(found.iter().copied(), expected_numbers.iter().copied());
            ProofCheck::new(distance <= wanted.max_abs, expected, format!("max-abs {distance:.1e}"))
        }
        Some(found) => ProofCheck::new(
            false,
            expected,
            format!("{} numbers in place of {}", found.len(), expected_numbers.len()),
        ),
        None => ProofCheck::new(false, expected, format!("no number at `{path}` in {}", shortened(output))),
    })
}

/// A report of checks, as `--json` of a self-test prints it.
#[derive(Deserialize)]
struct CheckReport {
    ok: bool,
    checks: Vec<ReportedCheck>,
}

#[derive(Deserialize)]
struct ReportedCheck {
    name: String,
    verdict: String,
    expected: String,
    found: String,
    time_ms: Option<f64>,
}

/// Exit status, summary and list must agree: a report that contradicts itself proves nothing. A check that was not
/// measured is no pass.
fn report(output: &[u8], has_wanted_status: bool) -> Vec<ProofCheck> {
    let report: CheckReport = match serde_json::from_slice(output) {
        Ok(report) => report,
        Err(error) => {
            let found = format!("{error} in {}", shortened(output));
            return vec![ProofCheck::new(false, "a JSON report with `ok` and `checks`", found)];
        }
    };
    let passed = |check: &ReportedCheck| check.verdict == "pass";
    let passes = report.checks.iter().filter(|check| passed(check)).count();
    let all_pass = passes == report.checks.len() && passes > 0;
    let mut checks = vec![ProofCheck::new(
        all_pass && report.ok && has_wanted_status,
        "`ok` is true, and so say at least one check, all checks and the exit status",
        format!("`ok` is {}, {passes} of {} checks pass", report.ok, report.checks.len()),
    )];
    checks.extend(report.checks.into_iter().map(|check| {
        let holds = passed(&check);
        let found = if holds { check.found } else { format!("{}: {}", check.verdict, check.found) };
        ProofCheck {
            name: Some(check.name),
            elapsed: check.time_ms.and_then(|millis| Duration::try_from_secs_f64(millis / 1e3).ok()),
            ..ProofCheck::new(holds, check.expected, found)
        }
    }));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::prove::Conclusion;

    #[test]
    fn equality_names_the_first_line_that_differs() {
        assert_eq!(equals(Path::new("g"), b"a\nb\n", b"a\nb\n").conclusion, Conclusion::Holds);
        let check = equals(Path::new("g"), b"a\nb\n", b"a\nc\n");
        assert_eq!(check.conclusion, Conclusion::Violated);
        assert_eq!(check.found, "4 bytes that differ from line 2 on: `a\nc`");
        assert_eq!(equals(Path::new("g"), b"a\n", b"").conclusion, Conclusion::Violated);
    }

    #[test]
    fn contained_text_must_be_there() {
        assert_eq!(contains("b", b"abc").conclusion, Conclusion::Holds);
        assert_eq!(contains("x", b"abc").conclusion, Conclusion::Violated);
    }

    #[test]
    fn numbers_must_be_there_as_many_and_close() {
        let folder = tempfile::tempdir().unwrap();
        let golden = folder.path().join("golden.json");
        std::fs::write(&golden, r#"{"sum": 1.0, "list": [1, 2]}"#).unwrap();
        let judge = |path: &str, output: &str| {
            let wanted = JsonNumbers { golden: "golden.json".into(), path: path.into(), max_abs: 0.25 };
            json_numbers(&golden, &wanted, output.as_bytes()).unwrap().conclusion
        };
        for (path, output, expected) in [
            ("/sum", r#"{"sum": 1.25}"#, Conclusion::Holds),
            ("/sum", r#"{"sum": 1.5}"#, Conclusion::Violated),
            ("/sum", r#"{"sum": "1.0"}"#, Conclusion::Violated),
            ("/sum", "{}", Conclusion::Violated),
            ("/sum", "nonsense", Conclusion::Violated),
            ("/list", r#"{"list": [1.1, 2.1]}"#, Conclusion::Holds),
            ("/list", r#"{"list": [1.1]}"#, Conclusion::Violated),
            ("/list", r#"{"list": [1.1, 9]}"#, Conclusion::Violated),
        ] {
            assert_eq!(judge(path, output), expected, "{path} in {output}");
        }
        let wanted = JsonNumbers { golden: "golden.json".into(), path: "/none".into(), max_abs: 0.0 };
        assert!(json_numbers(&golden, &wanted, b"{}").is_err(), "a golden without the number is no golden");
    }

    fn conclusions(text: &str, has_wanted_status: bool) -> Vec<Conclusion> {
        report(text.as_bytes(), has_wanted_status).into_iter().map(|check| check.conclusion).collect()
    }

    fn report_of(ok: bool, verdicts: &[&str]) -> String {
        let checks: Vec<String> = verdicts
            .iter()
            .map(|verdict| {
                format!(r#"{{"name": "n", "verdict": "{verdict}", "expected": "e", "found": "f"}}"#)
            })
            .collect();
        format!(r#"{{"ok": {ok}, "checks": [{}]}}"#, checks.join(","))
    }

    #[test]
    fn a_report_holds_when_status_summary_and_list_agree() {
        use Conclusion::{Holds, Violated};
        assert_eq!(conclusions(&report_of(true, &["pass", "pass"]), true), [Holds, Holds, Holds]);
        assert_eq!(conclusions(&report_of(true, &["pass", "fail"]), true), [Violated, Holds, Violated]);
        assert_eq!(conclusions(&report_of(true, &["not-measured"]), true), [Violated, Violated]);
        assert_eq!(conclusions(&report_of(false, &["pass"]), true), [Violated, Holds]);
        assert_eq!(conclusions(&report_of(true, &["pass"]), false), [Violated, Holds]);
        assert_eq!(conclusions(&report_of(true, &[]), true), [Violated]);
        assert_eq!(conclusions("no report", true), [Violated]);
    }
}
