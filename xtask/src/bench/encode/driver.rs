//! What can be measured: a warm program that computes a workload on request.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use process::Runner;
use release::context::BuildContext;
use serde_json::Value;

use super::bench_case::{Precision, Program, Workload};
use super::inputs::Inputs;
use super::line_child::{Answers, LineChild};
use super::peers::PeerScript;
use super::samples::Times;

/// Calls of a single text that count, and those before them. Equal for all programs: `SINGLE_CALLS` and `SINGLE_WARM_UP` of peer.py.
pub const SINGLE_CALLS: usize = 60;
pub const SINGLE_WARM_UP: usize = 20;
/// A peer loads, compiles and tries its settings before its first line.
const START_TIMEOUT: Duration = Duration::from_mins(10);
const MEASURE_TIMEOUT: Duration = Duration::from_mins(2);

/// A program that is ready.
pub struct Driver<'a> {
    /// Program and libraries with their versions.
    pub version: String,
    /// The setting that the program runs with, for the report.
    pub setting: Value,
    /// Vectors of all texts, and of the single one at the end.
    pub vectors: Vec<Vec<f32>>,
    pub measure: Box<dyn FnMut(Workload) -> anyhow::Result<Times> + 'a>,
}

/// Starts `peer.py`. `runner` ends the wait for an answer after Ctrl-C.
pub fn start_peer(
    context: &BuildContext,
    script: PeerScript<'_>,
    (program, precision): (Program, Precision),
    inputs: &Inputs,
    log: &Path,
) -> anyhow::Result<Driver<'static>> {
    let mut command = context.command(script.python);
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("TOKENIZERS_PARALLELISM", "true");
    command.arg(script.file).args([program.name(), precision.name()]).arg(&inputs.model).arg(&inputs.folder);
    command.arg(script.tuning);
    let mut child = LineChild::start(command, Answers::Stdout, log)?;
    let runner: Runner = context.runner.clone();
    let ready = parse(&child.next_line(&runner, START_TIMEOUT)?)?;
    let path = ready["vectors"].as_str().map(PathBuf::from).context("peer.py names no file of vectors")?;
    let setting = serde_json::json!({ "batch": ready["setting"], "single": ready["single_setting"], "tried": ready["tried"] });
    Ok(Driver {
        version: ready["version"].as_str().unwrap_or_default().to_owned(),
        setting,
        vectors: inputs.read_vectors(&path)?,
        measure: Box::new(move |workload| {
            child.write(workload.name())?;
            times(&parse(&child.next_line(&runner, MEASURE_TIMEOUT)?)?)
        }),
    })
}

fn parse(line: &str) -> anyhow::Result<Value> {
    serde_json::from_str(line).with_context(|| format!("the answer of peer.py is not JSON: `{line}`"))
}

fn times(answer: &Value) -> anyhow::Result<Times> {
    let seconds = answer["seconds"].as_f64().filter(|seconds| *seconds > 0.0);
    Ok(Times {
        seconds: seconds.with_context(|| format!("no `seconds` in `{answer}`"))?,
        without_tokenizer: answer["seconds_without_tokenizer"].as_f64(),
    })
}

/// In seconds.
pub fn median(mut times: Vec<f64>) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_a_positive_time_is_an_error() {
        let answer = |text| times(&parse(text)?);
        let expected = Times { seconds: 0.5, without_tokenizer: Some(0.25) };
        assert_eq!(answer(r#"{"seconds": 0.5, "seconds_without_tokenizer": 0.25}"#).unwrap(), expected);
        for text in [r#"{"seconds": 0}"#, r#"{"seconds": null}"#, "{}", "warming up"] {
            assert!(answer(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
