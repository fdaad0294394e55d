//! What the two containers said: judged from exit code and output alone.

use serde_json::Value;

use super::engine::Ended;
use crate::Outcome;

/// What a run comes to.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    Pass(String),
    Fail(String),
    /// The program itself says that it could not find out.
    NotMeasured(String),
}

impl Verdict {
    pub fn summary(&self) -> String {
        match self {
            Self::Pass(what) => format!("pass: {what}"),
            Self::Fail(_) => "FAIL".into(),
            Self::NotMeasured(_) => "NOT MEASURED".into(),
        }
    }

    pub fn detail(&self) -> Option<&str> {
        match self {
            Self::Pass(_) => None,
            Self::Fail(detail) | Self::NotMeasured(detail) => Some(detail),
        }
    }
}

/// A violated rule outweighs one that could not be measured.
pub fn worst(verdicts: &[Verdict]) -> Outcome {
    if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Fail(_))) {
        Outcome::Violated
    } else if verdicts.is_empty() || verdicts.iter().any(|verdict| matches!(verdict, Verdict::NotMeasured(_)))
    {
        Outcome::NotMeasured
    } else {
        Outcome::Pass
    }
}

/// Exit code and report must both say that every check passed, and there must have been checks.
pub fn selftest(ended: &Ended) -> Verdict {
    let report: Value = match serde_json::from_str(&ended.stdout) {
        Ok(report) => report,
        Err(error) => return Verdict::Fail(format!("its stdout is not JSON: {error}\n{}", told(ended))),
    };
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
    match (ended.code, &report["ok"]) {
        (0, Value::Bool(true)) if open.is_empty() && !checks.is_empty() => {
            Verdict::Pass(format!("{} checks", checks.len()))
        }
        (2, _) => Verdict::NotMeasured(format!("{}\n{}", open.join("\n"), told(ended))),
        (_, ok) => Verdict::Fail(format!(
            "\"ok\" is {ok}, {} checks\n{}\n{}",
            checks.len(),
            open.join("\n"),
            told(ended)
        )),
    }
}

/// One text went in: one line must come out, with a vector of the model's length that is not all zero.
pub fn embedding(ended: &Ended, dimension: Option<u64>) -> Verdict {
    if ended.code != 0 {
        return Verdict::Fail(told(ended));
    }
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let [line] = lines.as_slice() else {
        return Verdict::Fail(format!("one text went in, {} lines came out\n{}", lines.len(), told(ended)));
    };
    let row: Value = serde_json::from_str(line).unwrap_or_default();
    let numbers: Option<Vec<f64>> =
        row["embedding"].as_array().and_then(|numbers| numbers.iter().map(Value::as_f64).collect());
    match numbers {
        // JSON has no NaN and no infinity: what parsed is finite.
        Some(numbers) if dimension.is_some_and(|dimension| dimension != numbers.len() as u64) => {
            let expected = dimension.unwrap_or_default();
            Verdict::Fail(format!(
                "the model's vectors have {expected} numbers, this one has {}",
                numbers.len()
            ))
        }
        Some(numbers) if row["index"] == 0 && numbers.iter().any(|number| *number != 0.0) => {
            Verdict::Pass(format!("a vector of {} numbers", numbers.len()))
        }
        _ => Verdict::Fail(format!(
            "expected {{\"index\": 0, \"embedding\": [numbers, not all 0]}}\n{}",
            told(ended)
        )),
    }
}

/// Exit code and the ends of both streams.
fn told(ended: &Ended) -> String {
    let stream = |name: &str, text: &str| match text.trim() {
        "" => format!("\n{name}: empty"),
        text => format!("\n{name}: {}", tail(text)),
    };
    exit_code(ended.code) + &stream("stdout", &ended.stdout) + &stream("stderr", &ended.stderr)
}

/// With its usual reason, where it has one.
fn exit_code(code: i32) -> String {
    let reason = match code {
        126 => " (the program could not be executed)",
        127 => " (no such program in the image)",
        132 => " (SIGILL: an instruction that this CPU does not have)",
        137 => " (killed, as a rule by the kernel for want of memory)",
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

    fn ended(code: i32, stdout: &str) -> Ended {
        Ended {
            code,
            stdout: stdout.into(),
            stderr: "the program's words".into(),
            elapsed: Default::default(),
            command: "docker run".into(),
        }
    }

    #[track_caller]
    fn fails(verdict: Verdict, words: &str) {
        let Verdict::Fail(detail) = verdict else { panic!("{verdict:?}") };
        assert!(detail.contains(words), "`{words}` is not in:\n{detail}");
    }

    const GOOD: &str = r#"{"ok":true,"checks":[{"name":"gemm","verdict":"pass"}]}"#;

    #[test]
    fn a_selftest_passes_only_when_everything_says_so() {
        assert_eq!(selftest(&ended(0, GOOD)), Verdict::Pass("1 checks".into()));
        fails(selftest(&ended(1, GOOD)), "exit code 1");
        fails(selftest(&ended(139, "")), "SIGSEGV");
        fails(selftest(&ended(0, "ok")), "not JSON");
        fails(selftest(&ended(0, &format!("{GOOD}\n{GOOD}"))), "not JSON");
        fails(selftest(&ended(0, r#"{"ok":true,"checks":[]}"#)), "0 checks");
        fails(selftest(&ended(0, r#"{"checks":[{"name":"a","verdict":"pass"}]}"#)), "\"ok\" is null");
        let failed = r#"{"ok":true,"checks":[{"name":"stack","verdict":"fail","expected":"8 MiB","found":"128 KiB"}]}"#;
        fails(selftest(&ended(0, failed)), "stack fail: expected 8 MiB, found 128 KiB");
        fails(selftest(&ended(1, &failed.replace("true", "false"))), "\"ok\" is false");
    }

    #[test]
    fn a_selftest_that_could_not_measure_is_no_pass() {
        let text = r#"{"ok":false,"checks":[{"name":"stack","verdict":"not-measured"}]}"#;
        assert!(matches!(selftest(&ended(2, text)), Verdict::NotMeasured(_)));
    }

    #[test]
    fn an_embedding_is_one_line_with_one_vector() {
        let good = r#"{"index":0,"embedding":[0.5,-1e-3]}"#;
        assert_eq!(embedding(&ended(0, good), None), Verdict::Pass("a vector of 2 numbers".into()));
        fails(embedding(&ended(2, good), None), "the program's words");
        fails(embedding(&ended(137, ""), None), "want of memory");
        fails(embedding(&ended(0, ""), None), "0 lines");
        fails(embedding(&ended(0, &format!("{good}\n{good}")), None), "2 lines");
        for bad in [
            r#"{"index":1,"embedding":[0.5]}"#,
            r#"{"index":0,"embedding":[]}"#,
            r#"{"index":0,"embedding":[0,0.0]}"#,
            r#"{"index":0,"embedding":[null]}"#,
            r#"{"index":0}"#,
            "hello",
        ] {
            fails(embedding(&ended(0, bad), None), "not all 0");
        }
    }

    /// A program that answers something, but not with this model.
    #[test]
    fn a_vector_of_another_length_fails() {
        let good = ended(0, r#"{"index":0,"embedding":[5.0,0.1]}"#);
        assert_eq!(embedding(&good, Some(2)), Verdict::Pass("a vector of 2 numbers".into()));
        fails(embedding(&good, Some(384)), "have 384 numbers, this one has 2");
    }

    #[test]
    fn a_violation_outweighs_what_could_not_be_measured() {
        let (pass, fail, open) = (
            || Verdict::Pass(String::new()),
            Verdict::Fail(String::new()),
            Verdict::NotMeasured(String::new()),
        );
        assert!(matches!(worst(&[]), Outcome::NotMeasured));
        assert!(matches!(worst(&[pass(), pass()]), Outcome::Pass));
        let both = [pass(), open, fail];
        assert!(matches!(worst(&both), Outcome::Violated));
        assert!(matches!(worst(&both[..2]), Outcome::NotMeasured));
    }
}
