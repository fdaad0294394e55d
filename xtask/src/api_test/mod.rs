//! `cargo xtask api-test`: tests the HTTP API of the packed server with schemathesis and the server's own document, the
//! official OpenAI client, and the Prometheus parser. Needs Python and, once, the network.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use diag::{Diagnostic, Diagnostics};
use process::Task;
use release::fetch::pip;
use release::pipeline;
use release::stage::StageTimes;
use serde_json::json;

use crate::Outcome;
use crate::format;
use crate::setup::{Common, workspace_root};

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Far above the time of the default number of examples.
const TIMEOUT: Duration = Duration::from_mins(30);
/// Exit code of the script when it has findings.
const FINDINGS: i32 = 1;

diag::codes! {
    /// The API differs from its description.
    pub FINDING = Violation "api-test-finding": "a test of the HTTP API has a finding" {
        "catches": "a response that contradicts the OpenAPI document, the OpenAI client or the Prometheus text format; with \
                    `--self-check`, a false document that schemathesis accepts",
        "fix": "the output of the script shows request and response: correct the server or its document",
    }
    /// The script ended without a result.
    pub NOT_MEASURED = NotMeasured "api-test-not-measured": "the API tests ended without a result" {
        "cause": "the server did not start or did not exit, or a Python package failed; the script printed which",
        "fix": "read the script's last lines; `--verbose` prints its command",
    }
}

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Requests that schemathesis generates for each operation, besides the examples of the document
    #[arg(long, value_name = "N", default_value_t = 100)]
    examples: u32,
    /// Test the tests: schemathesis must detect documents that contradict the server
    #[arg(long)]
    self_check: bool,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let (plan, context) = (&setup.plan, &setup.context);
    let packed = pipeline::packed(plan, context, &mut StageTimes::default())?;
    let model = release::fixtures::folder(context, &plan.config, "model")?;
    let python = pip::environment(context, "api-test", REQUIREMENTS, "")?;
    let folder = tempfile::tempdir().context("creating a folder for the server")?;
    let mut script = context.command(&python);
    script.current_dir(folder.path()).arg(workspace_root().join("xtask/src/api_test/api_test.py"));
    script.arg(packed.file().path()).arg(&model).args(["--examples", &args.examples.to_string()]);
    // Python writes no cache into the checkout.
    script.env("PYTHONDONTWRITEBYTECODE", "1");
    if args.self_check {
        script.arg("--self-check");
    }
    let list = folder.path().join("findings.json");
    script.arg("--findings").arg(&list);
    let finished = context.runner.output(
        Task::new("test the HTTP API", script).inherit_stderr(true).report_stdout().timeout(TIMEOUT),
    )?;
    let findings = match finished.shell_code() {
        0 | FINDINGS => read(&list)?,
        _ => Vec::new(),
    };
    match (finished.shell_code(), findings.is_empty()) {
        (0, true) | (FINDINGS, false) => {
            let problems = problems(&findings, args.self_check);
            let document =
                json!({ "self_check": args.self_check, "findings": findings, "diagnostics": problems });
            // The text is that of the script.
            format::print(args.common.format, String::new, document)?;
            Ok(format::problems(problems))
        }
        (code, _) => Err(Diagnostic::new(&NOT_MEASURED, "the API tests ended without a result")
            .expected("exit code 0 without a finding, or 1 with findings")
            .found(format!("exit code {code}"))
            .hint("read the script's last lines; `--verbose` prints its command")
            .into()),
    }
}

/// The findings of the script, by name.
fn read(list: &Path) -> anyhow::Result<Vec<String>> {
    let text = std::fs::read(list).context("reading the findings of the script")?;
    serde_json::from_slice(&text).context("the findings of the script are no list of names")
}

fn problems(findings: &[String], is_self_check: bool) -> Diagnostics {
    let problem = |finding: &String| {
        let message = match is_self_check {
            true => format!("schemathesis accepts a false document: {finding}"),
            false => format!("a test of the HTTP API has a finding: {finding}"),
        };
        Diagnostic::new(&FINDING, message).hint("the output of the script shows request and response")
    };
    findings.iter().map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_is_a_violation() {
        let findings = ["schemathesis".to_string(), "metrics: no type".to_string()];
        let text = |is_self_check| {
            let Diagnostics(problems) = problems(&findings, is_self_check);
            diag::render::human(&problems, diag::render::Style::default())
        };
        insta::assert_snapshot!([text(false), text(true)].concat(), @"
        error[api-test-finding]: a test of the HTTP API has a finding: schemathesis
        hint: the output of the script shows request and response
        error[api-test-finding]: a test of the HTTP API has a finding: metrics: no type
        hint: the output of the script shows request and response
        error[api-test-finding]: schemathesis accepts a false document: schemathesis
        hint: the output of the script shows request and response
        error[api-test-finding]: schemathesis accepts a false document: metrics: no type
        hint: the output of the script shows request and response
        ");
        assert_eq!(diag::exit_code(&problems(&findings, false).0), 1);
    }

    #[test]
    fn findings_that_cannot_be_read_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let list = folder.path().join("findings.json");
        assert!(read(&list).is_err());
        std::fs::write(&list, "{}").unwrap();
        assert!(read(&list).is_err());
        std::fs::write(&list, "[\"schemathesis\"]").unwrap();
        assert_eq!(read(&list).unwrap(), ["schemathesis"]);
    }
}
