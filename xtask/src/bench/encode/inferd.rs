//! Drivers of inferd: the engine in the process of `inferd embed --rounds`, and a running server.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use process::Task;
use release::context::BuildContext;
use serde_json::{Value, json};

use super::bench_case::{BenchCase, Precision, Program, Route, Workload, offered_precisions};
use super::driver::{Driver, SINGLE_CALLS, SINGLE_WARM_UP, median};
use super::http::Client;
use super::inputs::Inputs;
use super::line_child::{Answers, LineChild};
use super::samples::Times;

const RUN_TIMEOUT: Duration = Duration::from_mins(5);
const START_TIMEOUT: Duration = Duration::from_mins(1);
/// Rounds of all texts in one process; the last one counts.
const BATCH_ROUNDS: usize = 2;

/// The program under test, and what its help texts offer.
pub struct Inferd<'a> {
    pub context: &'a BuildContext,
    pub binary: &'a Path,
    pub inputs: &'a Inputs,
    pub threads: usize,
}

impl<'a> Inferd<'a> {
    /// A row for each precision and each route; f32 for a program without `--dtype`. `isa` is the instruction set of the machine.
    pub fn cases(&self, isa: &str) -> anyhow::Result<Vec<BenchCase>> {
        let mut cases = Vec::new();
        for (verb, route) in [("embed", Route::InProcess), ("serve", Route::Http)] {
            let mut offered = offered_precisions(&self.help(verb)?).unwrap_or_else(|| vec![Precision::F32]);
            if isa == "amx" {
                offered.push(Precision::Auto);
            }
            let rows = offered.into_iter();
            cases.extend(rows.map(|precision| BenchCase { program: Program::Inferd, precision, route }));
        }
        Ok(cases)
    }

    fn help(&self, verb: &str) -> anyhow::Result<String> {
        let mut command = self.context.command(self.binary);
        command.args([verb, "-h"]);
        let task = Task::new("query the options of inferd", command);
        Ok(self.context.runner.run(task)?.stdout_text())
    }

    /// `inferd VERB` with the model, all cores and the precision.
    fn command(&self, verb: &str, precision: Precision) -> anyhow::Result<Command> {
        let mut command = self.context.command(self.binary);
        command
            .arg(verb)
            .arg("--model")
            .arg(&self.inputs.model)
            .args(["--threads", &self.threads.to_string()]);
        if offered_precisions(&self.help(verb)?).is_some() {
            command.args(["--dtype", precision.name()]);
        }
        Ok(command)
    }

    pub fn version(&self) -> String {
        self.context.version_line(self.binary, "--version").unwrap_or_else(|| "inferd".into())
    }

    /// Each measurement is a process of its own, which computes the texts before the rounds that count.
    pub fn start_in_process(self, precision: Precision) -> anyhow::Result<Driver<'a>> {
        ensure!(self.help("embed")?.contains("--rounds"), "this inferd has no `embed --rounds`");
        let vectors = self.embed(self.command("embed", precision)?, self.inputs.all_lines())?;
        let vectors =
            vectors.lines().map(|line| floats(&parse(line)?["embedding"])).collect::<anyhow::Result<_>>()?;
        let version = self.version();
        let measure = move |workload| {
            let (rounds, lines) = match workload {
                Workload::Batch => (BATCH_ROUNDS, self.inputs.batch_lines()),
                Workload::Single => (SINGLE_WARM_UP + SINGLE_CALLS, self.inputs.single_line()),
            };
            let mut command = self.command("embed", precision)?;
            command.args(["--rounds", &rounds.to_string()]);
            let output = self.embed(command, lines)?;
            let seconds = rounds_of(&output)?;
            ensure!(seconds.len() == rounds, "{} of {rounds} rounds in the output of inferd", seconds.len());
            let counted = match workload {
                Workload::Batch => seconds.last().copied(),
                Workload::Single => median(seconds[SINGLE_WARM_UP..].to_vec()),
            };
            Ok(Times { seconds: counted.context("no round")?, without_tokenizer: None })
        };
        Ok(Driver { version, setting: json!({}), vectors, measure: Box::new(measure) })
    }

    fn embed(&self, command: Command, lines: String) -> anyhow::Result<String> {
        let task = Task::new("embed the texts", command).stdin(lines).timeout(RUN_TIMEOUT);
        Ok(self.context.runner.run(task)?.stdout_text())
    }

    /// A warm server and one kept connection. The requests are prepared, the responses are received whole and not decoded: the time
    /// is that of the server and of the connection.
    pub fn start_server(self, precision: Precision, log: &Path) -> anyhow::Result<Driver<'a>> {
        let mut command = self.command("serve", precision)?;
        // The connection is idle while others compute.
        command.args(["--listen", "127.0.0.1:0", "--log-format", "json", "--header-timeout", "60 min"]);
        let server = LineChild::start(command, Answers::Stderr, log)?;
        let url = loop {
            let line = server.next_line(&self.context.runner, START_TIMEOUT)?;
            let event = parse(&line).with_context(|| format!("the server did not start: {line}"))?;
            if event["message"] == "listening" {
                break event["url"].as_str().context("the event `listening` has no `url`")?.to_owned();
            }
        };
        let mut client = Client::connect(url.trim_start_matches("http://"))?;
        let inputs = self.inputs;
        let every: Vec<&str> = inputs.texts.iter().chain([&inputs.single]).map(String::as_str).collect();
        let response = parse(&String::from_utf8(client.post(&request(&every, "float"))?)?)?;
        let rows = response["data"].as_array().context("the response has no `data`")?;
        let vectors = rows.iter().map(|row| floats(&row["embedding"])).collect::<anyhow::Result<_>>()?;
        let batch = request(&every[..every.len() - 1], "base64");
        let single = request(&[&inputs.single], "base64");
        let version = self.version();
        let measure = move |workload| {
            let _ = &server;
            let mut seconds = |request: &[u8]| {
                let started = Instant::now();
                client.post(request)?;
                anyhow::Ok(started.elapsed().as_secs_f64())
            };
            let counted = match workload {
                Workload::Batch => seconds(&batch)?,
                Workload::Single => {
                    let calls = (0..SINGLE_WARM_UP + SINGLE_CALLS).map(|_| seconds(&single));
                    median(calls.collect::<anyhow::Result<Vec<_>>>()?.split_off(SINGLE_WARM_UP))
                        .context("no call")?
                }
            };
            Ok(Times { seconds: counted, without_tokenizer: None })
        };
        Ok(Driver { version, setting: json!({}), vectors, measure: Box::new(measure) })
    }
}

/// A request for embeddings. base64 is the default of OpenAI's clients.
fn request(texts: &[&str], encoding: &str) -> Vec<u8> {
    super::http::post("/v1/embeddings", &json!({ "input": texts, "encoding_format": encoding }).to_string())
}

/// The seconds of each round in the output of `embed --rounds`.
fn rounds_of(output: &str) -> anyhow::Result<Vec<f64>> {
    let seconds =
        |line: &str| parse(line)?["seconds"].as_f64().with_context(|| format!("no `seconds` in `{line}`"));
    output.lines().map(seconds).collect()
}

fn parse(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).context("inferd printed a line that is not JSON")
}

fn floats(value: &Value) -> anyhow::Result<Vec<f32>> {
    let values = value.as_array().context("a vector is not an array")?;
    values.iter().map(|value| Ok(value.as_f64().context("a component is not a number")? as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_texts_in_their_order() {
        let request = String::from_utf8(request(&["b \"quoted\"", "a"], "base64")).unwrap();
        let (_, body) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(
            parse(body).unwrap(),
            json!({ "input": ["b \"quoted\"", "a"], "encoding_format": "base64" })
        );
        assert!(request.contains(&format!("content-length: {}\r\n", body.len())), "{request}");
    }

    #[test]
    fn rounds_are_read_in_order_and_other_lines_are_errors() {
        let output = "{\"round\":1,\"seconds\":0.75}\n{\"round\":2,\"seconds\":0.5}\n";
        assert_eq!(rounds_of(output).unwrap(), [0.75, 0.5]);
        assert!(rounds_of("{\"index\":0,\"embedding\":[1.0]}\n").is_err());
        assert!(rounds_of("warming up\n").is_err());
    }
}
