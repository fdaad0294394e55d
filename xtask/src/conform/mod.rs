//! `cargo xtask conform`: holds the HTTP interface of the packed server against those who would use it: schemathesis with
//! the server's own document, the official OpenAI client, and Prometheus's parser. Needs Python and, once, the network.

use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use diag::Diagnostic;
use process::Task;
use release::pipeline::{self, Times};
use release::toolchain::pip;

use crate::Outcome;
use crate::setup::{Common, workspace_root};

const REQUIREMENTS: &str = include_str!("requirements.txt");
/// Far above what the default number of examples takes.
const TIME_MAX: Duration = Duration::from_secs(30 * 60);
/// What the script says with its exit code, besides 0.
const FOUND: i32 = 1;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Requests that schemathesis makes up for each operation, besides those that the document itself leads to
    #[arg(long, value_name = "N", default_value_t = 100)]
    examples: u32,
    /// Check the check: documents that lie about the server must be found out
    #[arg(long)]
    self_check: bool,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let (plan, site) = (&setup.plan, &setup.site);
    let built = pipeline::packed(plan, site, &mut Times::default())?;
    let model = release::model::folder(site, &plan.config)?;
    let python = pip::environment(site, "conform", REQUIREMENTS, "")?;
    let folder = tempfile::tempdir().context("making a folder for the server")?;
    let mut script = site.command(&python);
    script.current_dir(folder.path()).arg(workspace_root().join("xtask/src/conform/conform.py"));
    script.arg(&built.packed.file.path).arg(&model).args(["--examples", &args.examples.to_string()]);
    // The checkout stays as it is.
    script.env("PYTHONDONTWRITEBYTECODE", "1");
    if args.self_check {
        script.arg("--self-check");
    }
    let finished = site.runner.output(
        Task::new("hold the server against its document", script)
            .inherit_stderr(true)
            .tee_stdout()
            .timeout(TIME_MAX),
    )?;
    match finished.shell_code() {
        0 => Ok(Outcome::Pass),
        FOUND => Ok(Outcome::Violated),
        code => Err(Diagnostic::new(
            &release::GENERAL,
            format!("the script of `conform` ended with {code} and has found nothing out"),
        )
        .hint("what it printed last says where; `--verbose` shows its command")
        .into()),
    }
}
