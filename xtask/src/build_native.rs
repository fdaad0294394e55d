//! `cargo xtask build-native`: the native libraries alone, for work on their patches; `--repeat` compares repeated builds.

use std::fmt::Write;

use anyhow::Context;
use clap::Args as ClapArgs;
use release::native_inputs::NativeInputs;
use release::stages::native::{self, StaticLib, repeat};
use release::stages::{sources, toolchain};
use units::ByteSize;

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Only these libraries of release.toml [default: all]
    #[arg(value_name = "LIBRARY")]
    libraries: Vec<String>,
    /// Build each library N times from an empty folder, in other folders, at other times and in another order, and compare
    /// the bytes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(3..=1000))]
    repeat: Option<u16>,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let (plan, context) = (&setup.plan, &setup.context);
    let selected = plan.libraries(&args.libraries)?;
    plan.check_tools()?;
    let toolchain = toolchain::install(plan, context)?;
    let mut same = true;
    for library in selected {
        let source = plan.tools.sources.get(&library.name).context("a library without a resolved source")?;
        let manifest = &library.vendored.manifest;
        match args.repeat {
            Some(times) => {
                let archive = sources::install(context, manifest, source)?;
                let report = repeat::repeat(plan, context, &toolchain, library, &archive, times.into())?;
                same &= report.differences.is_empty();
                stdout::print(&report.human())?;
            }
            None => {
                let inputs = NativeInputs::new(&plan.target, context, &toolchain, library)?;
                let built = native::build_alone(plan, context, &toolchain, library, &inputs, || {
                    sources::install(context, manifest, source)
                })?;
                stdout::print(&summary(&built)?)?;
            }
        }
    }
    Ok(if same { Outcome::Pass } else { Outcome::Violated })
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
