//! `cargo xtask dist`: everything, from a clean machine to a proved binary and its image.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args as ClapArgs, ValueEnum};
use process::CpuTime;
use release::pipeline::{self, Times};
use release::plan::Plan;
use release::prove::{Proof, ProofOutcome};
use release::ship::Shipped;
use units::ByteSize;

use crate::Outcome;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Print what would be done, and touch nothing
    #[arg(long)]
    plan: bool,
    /// How to print the plan or the result
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Where the results go [default: dist/ of this checkout]
    #[arg(long, value_name = "DIR")]
    dist_dir: Option<PathBuf>,
    /// dist-manifest.json of the release before, for rules about growth
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup_after(args.dist_dir, args.previous)?;
    let plan = &setup.plan;
    if args.plan {
        match args.format {
            Format::Human => stdout::print(&plan.human())?,
            Format::Json => stdout::print(&(serde_json::to_string_pretty(plan)? + "\n"))?,
        }
        return Ok(Outcome::Pass);
    }
    if plan.commit.dirty && !plan.quiet {
        eprintln!(
            "warning: there are changes that are not committed; the manifest and `--version` will say so"
        );
    }
    if !plan.commit.is_known() && !plan.quiet {
        eprintln!(
            "warning: no commit is known (no git, or not a checkout of its own); the manifest and `--version` will say so"
        );
    }
    let started = Instant::now();
    let mut times = Times::default();
    let shipped = pipeline::dist(plan, &setup.site, &mut times)?;
    if args.format == Format::Json {
        stdout::print(&(serde_json::to_string_pretty(&shipped.manifest)? + "\n"))?;
        return Ok(Outcome::Pass);
    }
    stdout::print(&summary(plan, &shipped, &times, started.elapsed())?)?;
    Ok(Outcome::Pass)
}

fn summary(
    plan: &Plan,
    shipped: &Shipped,
    times: &Times,
    elapsed: Duration,
) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let out = &mut text;
    writeln!(out, "{} {} for {}, proved", plan.config.product.name, plan.version, plan.target)?;
    writeln!(out)?;
    writeln!(out, "{:<10} {:>8} {:>12}", "stage", "time", "busy cores")?;
    for time in &times.0 {
        let seconds = time.wall.as_secs_f64();
        writeln!(out, "{:<10} {seconds:>6.1} s {:>12.2}", time.stage, time.cpu_seconds / seconds.max(0.001))?;
    }
    let seconds = elapsed.as_secs_f64();
    writeln!(
        out,
        "{:<10} {seconds:>6.1} s {:>12.2}",
        "all",
        CpuTime::now().since(CpuTime::now()).as_secs_f64() / seconds.max(0.001)
    )?;
    writeln!(out)?;
    for stage in &shipped.manifest.stages {
        let size = ByteSize(stage.size_bytes).rounded();
        writeln!(out, "{:<10} {size:>10}  {} rules: {}", stage.stage, stage.rules.len(), stage.verdict)?;
    }
    let mutants = &shipped.manifest.mutants;
    let (count, elapsed_ms) = (mutants.mutants.len(), mutants.elapsed_ms);
    writeln!(out, "{:<10} {:>10}  {count} damaged copies: all refused, {elapsed_ms} ms", "mutants", "")?;
    let passed = |proof: &&Proof| proof.outcome == ProofOutcome::Pass;
    let (proofs, passed) =
        (shipped.manifest.proofs.len(), shipped.manifest.proofs.iter().filter(passed).count());
    let rest = if passed < proofs { format!(", {} not measured", proofs - passed) } else { String::new() };
    writeln!(out, "{:<10} {:>10}  {passed} proofs: pass{rest}", "proved", "")?;
    writeln!(out)?;
    for file in &shipped.files {
        let path = plan.paths.dist.join(&file.name);
        writeln!(out, "{:>10}  {}", ByteSize(file.size_bytes).rounded(), path.display())?;
    }
    writeln!(out)?;
    writeln!(out, "image      {}", shipped.image.reference)?;
    writeln!(out, "manifest   {}", shipped.image.manifest_digest)?;
    writeln!(out, "image id   {}  (what the engine shows after a load)", shipped.image.image_id)?;
    Ok(text)
}
