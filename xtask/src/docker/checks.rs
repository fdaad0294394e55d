//! Judges the two containers by their exit code and output alone. A check returns a summary or its problem.

use diag::{Code, Diagnostic};
use serde_json::Value;

use super::codes::{EMBED_FAILED, SELFTEST_FAILED, SELFTEST_NOT_MEASURED};
use super::container::Exit;

/// Passes if exit code and report both say that every check passed, and at least one check ran.
pub fn selftest(exit: &Exit) -> Result<String, Diagnostic> {
    let report: Value = serde_json::from_str(&exit.stdout).map_err(|error| {
        problem(&SELFTEST_FAILED, exit, "a JSON report on stdout", &format!("stdout is not JSON: {error}"))
    })?;
    let checks = report["checks"].as_array().map_or(&[][..], Vec::as_slice);
    let open: Vec<String> = checks
        .iter()
        .filter(|check| check["verdict"] != "pass")
        .map(|check| {
            let field = |name: &str| check[name].as_str().unwrap_or("?").to_string();
            format!(
                "{} {}: expected {}, found {}",
                field("name"),
                field("verdict"),
                field("expected"),
                field("found")
            )
        })
        .collect();
    let found = format!("\"ok\" is {}, {} checks\n{}", report["ok"], checks.len(), open.join("\n"));
    match (exit.code, &report["ok"]) {
        (0, Value::Bool(true)) if open.is_empty() && !checks.is_empty() => {
            Ok(format!("{} checks", checks.len()))
        }
        (2, _) => Err(problem(&SELFTEST_NOT_MEASURED, exit, "every check measured", &found)),
        _ => Err(problem(&SELFTEST_FAILED, exit, "exit code 0, \"ok\" true, every check passed", &found)),
    }
}

/// Passes if one input text gives one line with a vector that has the model's dimension and is not all zero.
pub fn embedding(exit: &Exit, dimension: Option<u64>) -> Result<String, Diagnostic> {
    let fail = |expected: &str, found: &str| Err(problem(&EMBED_FAILED, exit, expected, found));
    if exit.code != 0 {
        return fail("exit code 0", "");
    }
    let lines: Vec<&str> = exit.stdout.lines().collect();
    let [line] = lines.as_slice() else {
        return fail("one line for one text", &format!("{} lines", lines.len()));
    };
    let row: Value = serde_json::from_str(line).unwrap_or_default();
    let numbers: Option<Vec<f64>> =
        row["embedding"].as_array().and_then(|numbers| numbers.iter().map(Value::as_f64).collect());
    match numbers {
        // JSON has no NaN and no infinity: what parsed is finite.
        Some(numbers) if dimension.is_some_and(|dimension| dimension != numbers.len() as u64) => {
            let expected = format!("a vector of {} numbers, as the model has", dimension.unwrap_or_default());
            fail(&expected, &format!("{} numbers", numbers.len()))
        }
        Some(numbers) if row["index"] == 0 && numbers.iter().any(|number| *number != 0.0) => {
            Ok(format!("a vector of {} numbers", numbers.len()))
        }
        _ => fail("{\"index\": 0, \"embedding\": [numbers, not all 0]}", ""),
    }
}

/// Adds exit code, the ends of both streams and the command.
fn problem(code: &'static Code, exit: &Exit, expected: &str, found: &str) -> Diagnostic {
    let stream = |name: &str, text: &str| match text.trim() {
        "" => format!("{name}: empty"),
        text => format!("{name}: {}", tail(text)),
    };
    let parts = [
        found.trim_end().to_string(),
        exit_code(exit.code),
        stream("stdout", &exit.stdout),
        stream("stderr", &exit.stderr),
    ];
    let found: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Diagnostic::new(code, code.summary)
        .expected(expected)
        .found(found.join("\n"))
        .hint(format!("to run it by hand:\n{}", exit.command))
}

/// With its usual reason, where it has one.
fn exit_code(code: i32) -> String {
    let reason = match code {
        126 => " (the program could not be executed)",
        127 => " (no such program in the image)",
        132 => " (SIGILL: an instruction that this CPU does not have)",
        137 => " (SIGKILL, usually by the kernel because of the memory limit)",
        139 => " (SIGSEGV)",
        _ => "",
    };
    format!("exit code {code}{reason}")
}

fn tail(text: &str) -> String {
    const CHARS_MAX: usize = 2000;
    match text.char_indices().rev().nth(CHARS_MAX) {
        Some((start, _)) => format!("… {}", &text[start..]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(code: i32, stdout: &str) -> Exit {
        Exit {
            code,
            stdout: stdout.into(),
            stderr: "stderr of the program".into(),
            elapsed: std::time::Duration::ZERO,
            command: "docker run".into(),
        }
    }

    /// The problems as they are printed, one after another.
    fn problems(results: impl IntoIterator<Item = Result<String, Diagnostic>>) -> String {
        let problems: Vec<_> = results.into_iter().map(|result| result.unwrap_err()).collect();
        diag::render::human(&problems, diag::render::Style::default())
    }

    const GOOD: &str = r#"{"ok":true,"checks":[{"name":"gemm","verdict":"pass"}]}"#;

    #[test]
    fn a_selftest_passes_only_if_exit_code_and_report_agree() {
        assert_eq!(selftest(&exit(0, GOOD)), Ok("1 checks".into()));
        let failed = r#"{"ok":true,"checks":[{"name":"stack","verdict":"fail","expected":"8 MiB","found":"128 KiB"}]}"#;
        let not_ok = failed.replace("true", "false");
        let (twice, empty) = (format!("{GOOD}\n{GOOD}"), r#"{"ok":true,"checks":[]}"#);
        let without_ok = r#"{"checks":[{"name":"a","verdict":"pass"}]}"#;
        let rejected: [(i32, &str); 8] = [
            (1, GOOD),
            (139, ""),
            (0, "ok"),
            (0, &twice),
            (0, empty),
            (0, without_ok),
            (0, failed),
            (1, &not_ok),
        ];
        insta::assert_snapshot!(problems(rejected.map(|(code, stdout)| selftest(&exit(code, stdout)))));
    }

    #[test]
    fn an_unmeasured_selftest_is_not_a_pass() {
        let text = r#"{"ok":false,"checks":[{"name":"stack","verdict":"not-measured"}]}"#;
        let problem = selftest(&exit(2, text)).unwrap_err();
        assert_eq!(diag::exit_code(&[problem]), 2);
    }

    #[test]
    fn an_embedding_is_one_line_with_one_vector() {
        let good = r#"{"index":0,"embedding":[0.5,-1e-3]}"#;
        assert_eq!(embedding(&exit(0, good), None), Ok("a vector of 2 numbers".into()));
        assert_eq!(embedding(&exit(0, good), Some(2)), Ok("a vector of 2 numbers".into()));
        let twice = format!("{good}\n{good}");
        let rejected: [(i32, &str); 10] = [
            (2, good),
            (137, ""),
            (0, ""),
            (0, &twice),
            (0, r#"{"index":1,"embedding":[0.5]}"#),
            (0, r#"{"index":0,"embedding":[]}"#),
            (0, r#"{"index":0,"embedding":[0,0.0]}"#),
            (0, r#"{"index":0,"embedding":[null]}"#),
            (0, r#"{"index":0}"#),
            (0, "hello"),
        ];
        insta::assert_snapshot!(problems(
            rejected.map(|(code, stdout)| embedding(&exit(code, stdout), None))
        ));
    }

    /// A program that answers, but not with this model.
    #[test]
    fn rejects_a_vector_of_another_dimension() {
        let good = exit(0, r#"{"index":0,"embedding":[5.0,0.1]}"#);
        insta::assert_snapshot!(problems([embedding(&good, Some(384))]));
    }
}
