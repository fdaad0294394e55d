//! `cargo xtask loadtest`: load and fault tests of the packed server in dist/.
//!
//! The tests are the crate `loadtest`, a program of its own that this verb builds and runs, so that no other verb waits for
//! its compilation. The verb supplies the paths: the packed file, the model, and the image's ID in the container engine.

use std::path::PathBuf;
use std::process::Command;

use clap::{Args as ClapArgs, ValueEnum};
use diag::Diagnostic;
use process::{Runner, Task};
use units::TimeSpan;

use crate::Outcome;
use crate::codes::LOADTEST_WITHOUT_RESULT;
use crate::docker::{DistImage, Engine};
use crate::format::Format;
use crate::setup::{Common, workspace_root};
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Scenarios to run; docs/server.md lists them [default: all]
    #[arg(value_name = "SCENARIO")]
    scenarios: Vec<String>,
    /// Time of each overload and of the soak, at least 5 s [default: 5 min]
    #[arg(long, value_name = "TIME")]
    duration: Option<TimeSpan>,
    /// Time of the whole run: what is left after the scenarios with a fixed time is shared by the others
    #[arg(long, value_name = "N", conflicts_with = "duration", value_parser = clap::value_parser!(u16).range(1..=1440))]
    minutes: Option<u16>,
    /// Concurrent clients of an overload
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u16).range(1..=2000))]
    clients: u16,
    /// Requests that `malformed` generates from the OpenAPI document, and connections that it sends bytes on
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    requests: u32,
    /// Seed of the generated requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The model folder [default: the one that `cargo xtask fetch-model` prints]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The server's program [default: the packed file in dist/]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Exit status of `loadtest` when a check is violated.
const VIOLATED: i32 = 1;

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let format = args.common.format;
    let setup = args.common.setup(None)?;
    let (plan, context) = (&setup.plan, &setup.context);
    let model = match args.model {
        Some(model) => model,
        None => release::fixtures::folder(context, &plan.config, "model")?,
    };
    // With the environment of this process, and not a build's: the container engine may be named there (DOCKER_HOST).
    let mut loadtest = Command::new("cargo");
    loadtest.args(["run", "--quiet", "--locked", "--package", "loadtest", "--manifest-path"]);
    loadtest.arg(workspace_root().join("Cargo.toml")).arg("--");
    loadtest.arg("--binary").arg(args.binary.unwrap_or_else(|| plan.paths.dist.join(&plan.names.packed)));
    loadtest.arg("--model").arg(model);
    let is_named = args.scenarios.iter().any(|name| name == "container" || name == "big-host");
    if is_named || args.scenarios.is_empty() || args.scenarios.iter().any(|name| name == "all") {
        match loaded_image(&plan.paths.dist, context.runner.clone()) {
            Ok(image) => {
                loadtest.args(["--image", &image]);
            }
            Err(error) if is_named => return Err(error),
            // The scenario `container` is then reported as not measured, and the others run.
            Err(error) => {
                context.runner.check()?;
                let diagnostics = diag::collect(&error).into_iter();
                diagnostics.for_each(|diagnostic| context.runner.events().warn(diagnostic.warning()));
            }
        }
    }
    if let Some(duration) = args.duration {
        loadtest.args(["--duration", &duration.to_string()]);
    }
    if let Some(minutes) = args.minutes {
        loadtest.args(["--minutes", &minutes.to_string()]);
    }
    loadtest.args(["--requests", &args.requests.to_string(), "--seed", &args.seed.to_string()]);
    loadtest.args(["--clients", &args.clients.to_string(), "--format", &name(format)]);
    loadtest.args(&args.scenarios);
    let task = Task::new("run the load tests", loadtest).inherit_stderr(true);
    let output = match format {
        Format::Human => context.runner.output(task.report_stdout())?,
        // The document of the child is that of the verb, unless the child did not start.
        Format::Json => {
            let output = context.runner.output(task)?;
            if output.stdout.is_empty() {
                return Err(without_result(output.shell_code()).into());
            }
            stdout::print(&String::from_utf8_lossy(&output.stdout))?;
            output
        }
    };
    match output.shell_code() {
        0 => Ok(Outcome::Pass),
        VIOLATED => Ok(Outcome::Violated),
        // `loadtest` has printed why.
        _ => Ok(Outcome::NotMeasured),
    }
}

fn without_result(code: i32) -> Diagnostic {
    Diagnostic::new(&LOADTEST_WITHOUT_RESULT, "the load tests ended without a result")
        .expected("exit code 0 or 1, and a report")
        .found(format!("exit code {code}"))
        .hint("cargo run --package loadtest -- --help")
}

/// Loads the image of `dist/` into the container engine; returns its ID there.
fn loaded_image(dist: &std::path::Path, runner: Runner) -> anyhow::Result<String> {
    let image = DistImage::find(dist)?;
    let engine = Engine::connect(runner, &image)?;
    engine.load(&image)?;
    let id = engine.image_id(&image.archive.reference)?;
    id.filter(|id| image.is_called(id)).ok_or_else(|| {
        Diagnostic::new(&crate::docker::IMAGE_REPLACED, "the engine holds another image under the reference")
            .file(&image.path)
            .expected(&image.archive.image_id)
            .into()
    })
}

/// The name of a value on the command line.
fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_string())
}
