//! `cargo xtask build-native`: the native libraries alone, for work on their patches; `--repeat` compares repeated builds.

use std::fmt::Write;

use anyhow::Context;
use clap::Args as ClapArgs;
use diag::Diagnostics;
use release::native_inputs::NativeInputs;
use release::stages::native::{self, StaticLib, repeat};
use release::stages::{sources, toolchain};
use serde_json::{Value, json};
use units::ByteSize;

use crate::Outcome;
use crate::format::{self, Format};
use crate::setup::Common;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Only these libraries of release.toml [default: all]
    #[arg(value_name = "LIBRARY")]
    libraries: Vec<String>,
    /// Build each library N times from an empty folder, in other folders, at other times and in another order, and compare
    /// the bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=1000))]
    repeat: Option<u16>,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let format = args.common.format;
    let (libraries, problems) = build(args)?;
    if format == Format::Json {
        format::print(format, String::new, json!({ "libraries": libraries, "diagnostics": problems }))?;
    }
    Ok(format::problems(problems))
}

/// The libraries as data, and what is wrong with them. Text is printed as soon as a library is built.
fn build(args: Args) -> anyhow::Result<(Vec<Value>, Diagnostics)> {
    let print = |text: &str| format::print_part(args.common.format, text);
    let setup = args.common.setup(None)?;
    let (plan, context) = (&setup.plan, &setup.context);
    let selected = plan.libraries(&args.libraries)?;
    plan.check_tools()?;
    let toolchain = toolchain::install(plan, context)?;
    let (mut libraries, mut problems) = (Vec::new(), Diagnostics::default());
    for library in selected {
        let source = plan.tools.sources.get(&library.name).context("a library without a resolved source")?;
        let manifest = &library.vendored.manifest;
        match args.repeat {
            Some(times) => {
                let archive = sources::install(context, manifest, source)?;
                let report = repeat::repeat(plan, context, &toolchain, library, &archive, times.into())?;
                print(&report.human())?;
                problems.extend(report.problem());
                libraries.push(serde_json::to_value(&report)?);
            }
            None => {
                let inputs = NativeInputs::new(&plan.target, context, &toolchain, library)?;
                let built = native::build_alone(plan, context, &toolchain, library, &inputs, || {
                    sources::install(context, manifest, source)
                })?;
                print(&summary(&built)?)?;
                libraries.push(data(&built)?);
            }
        }
    }
    Ok((libraries, problems))
}

/// As dist-manifest.json has it, with the place of the archive and the times of its build.
fn data(library: &StaticLib) -> serde_json::Result<Value> {
    let mut data = serde_json::to_value(library)?;
    data["archive"]["path"] = json!(library.archive().path());
    data["steps"] = json!(library.steps());
    Ok(data)
}

fn summary(library: &StaticLib) -> Result<String, std::fmt::Error> {
    let made = if library.reused() { "in the cache" } else { "built" };
    let mut text = String::new();
    let size = ByteSize(library.archive().size_bytes()).rounded();
    writeln!(text, "{} {} ({made}), {size}, {}", library.name(), library.version(), library.licence())?;
    writeln!(text, "archive      {}", library.archive().path().display())?;
    writeln!(text, "sha256       {}", library.archive().sha256())?;
    writeln!(text, "fingerprint  {}", library.fingerprint())?;
    for step in library.steps() {
        writeln!(text, "time         {step}")?;
    }
    for proof in library.proofs() {
        writeln!(text, "proved       {proof}")?;
    }
    for chain in library.liveness() {
        writeln!(
            text,
            "live         {}: {} of {} lines compiled in {}; changed: {}; test {}",
            chain.patch,
            chain.lines_live,
            chain.lines_added,
            chain.compiled.join(", "),
            chain.differs.join(", "),
            chain.test
        )?;
    }
    Ok(text)
}
