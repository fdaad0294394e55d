//! `cargo xtask api-test`: tests the HTTP API of the packed server with schemathesis and the server's own document, the
//! official OpenAI client, and the Prometheus parser. Needs Python and, once, the network.

use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use diag::Diagnostic;
use process::Task;
use release::fetch::pip;
use release::pipeline;
use release::stage::StageTimes;

use crate::Outcome;
use crate::setup::{Common, workspace_root};

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Far above the time of the default number of examples.
const TIMEOUT: Duration = Duration::from_mins(30);
/// Exit code of the script when it has findings.
const FINDINGS: i32 = 1;

diag::codes! {
    /// The script ended without a result.
    pub NOT_MEASURED = NotMeasured "api-test-not-measured": "the API tests ended without a result" {
        "cause": "the server did not start or did not exit, or a Python package failed; the script printed which",
        "fix": "read the script's last lines; `--verbose` prints its command",
    }
}

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
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
    let finished = context.runner.output(
        Task::new("test the HTTP API", script).inherit_stderr(true).report_stdout().timeout(TIMEOUT),
    )?;
    match finished.shell_code() {
        0 => Ok(Outcome::Pass),
        FINDINGS => Ok(Outcome::Violated),
        code => Err(Diagnostic::new(&NOT_MEASURED, "the API tests ended without a result")
            .expected("exit code 0 or 1")
            .found(format!("exit code {code}"))
            .hint("read the script's last lines; `--verbose` prints its command")
            .into()),
    }
}
