//! `cargo xtask dist`: every stage, from a clean machine to a proved binary and its image.

use clap::Args as ClapArgs;
use release::pipeline;
use release::plan::Plan;
use release::stage::StageTimes;
use release::stages::prove::{Proof, ProofOutcome};
use release::stages::publish::Release;
use std::fmt::Write;
use std::path::PathBuf;
use units::ByteSize;

use crate::Outcome;
use crate::format::Format;
use crate::setup::Common;
use crate::stdout;

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    pub common: Common,
    /// Print the plan and change nothing
    #[arg(long)]
    plan: bool,
    /// Folder of the results [default: dist/ of the workspace]
    #[arg(long, value_name = "DIR")]
    dist_dir: Option<PathBuf>,
    /// dist-manifest.json of the previous release, for the rules about growth
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

pub fn run(args: Args, mut times: StageTimes) -> anyhow::Result<Outcome> {
    let format = args.common.format;
    let setup = args.common.setup_with_baseline(args.dist_dir, args.baseline)?;
    let (plan, context) = (&setup.plan, &setup.context);
    if args.plan {
        match format {
            Format::Human => stdout::print(&plan.human())?,
            Format::Json => stdout::print(&(serde_json::to_string_pretty(plan)? + "\n"))?,
        }
        return Ok(Outcome::Pass);
    }
    if let Some(warning) = commit_warning(plan) {
        context.events().step(warning);
    }
    let release = pipeline::dist(plan, context, &mut times)?;
    if format == Format::Json {
        stdout::print(&(serde_json::to_string_pretty(release.manifest())? + "\n"))?;
        return Ok(Outcome::Pass);
    }
    stdout::print(&summary(plan, &release, &times)?)?;
    Ok(Outcome::Pass)
}

fn commit_warning(plan: &Plan) -> Option<&'static str> {
    if !plan.commit.is_known() {
        return Some(
            "warning: no commit is known (git is missing, or this is no checkout); the manifest records that",
        );
    }
    plan.commit
        .dirty
        .then_some("warning: there are uncommitted changes; the manifest and `--version` record that")
}

fn summary(plan: &Plan, release: &Release, times: &StageTimes) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    let out = &mut text;
    writeln!(out, "{} {} for {}, proved", plan.config.product.name, plan.version, plan.target)?;
    writeln!(out)?;
    writeln!(out, "{:<10} {:>8} {:>12}", "stage", "time", "busy cores")?;
    let total = times.total();
    let rows = times.rows().iter().map(|(stage, time)| (stage.name(), *time)).chain([("total", total)]);
    for (name, time) in rows {
        let (seconds, busy) = (time.wall.as_secs_f64(), time.busy_cores(plan.cores));
        writeln!(out, "{name:<10} {seconds:>6.1} s {busy:>12.2}")?;
    }
    writeln!(out)?;
    for stage in release.manifest().stages() {
        let size = ByteSize(stage.size_bytes).rounded();
        writeln!(out, "{:<10} {size:>10}  {} rules: {}", stage.stage, stage.rules.len(), stage.verdict)?;
    }
    let mutants = release.manifest().mutants();
    let (count, elapsed_ms) = (mutants.mutants.len(), mutants.elapsed_ms);
    writeln!(out, "{:<10} {:>10}  {count} damaged copies: all rejected, {elapsed_ms} ms", "mutation", "")?;
    let passed = |proof: &&Proof| proof.outcome == ProofOutcome::Pass;
    let proofs = release.manifest().proofs();
    let passed = proofs.iter().filter(passed).count();
    let rest = if passed < proofs.len() {
        format!(", {} not measured", proofs.len() - passed)
    } else {
        String::new()
    };
    writeln!(out, "{:<10} {:>10}  {passed} proofs: pass{rest}", "prove", "")?;
    writeln!(out)?;
    for file in release.files() {
        let path = plan.paths.dist.join(&file.name);
        writeln!(out, "{:>10}  {}", ByteSize(file.size_bytes).rounded(), path.display())?;
    }
    writeln!(out)?;
    writeln!(out, "image      {}", release.image().reference)?;
    writeln!(out, "manifest   {}", release.image().manifest_digest)?;
    writeln!(out, "image id   {}  (what the engine shows after a load)", release.image().image_id)?;
    Ok(text)
}
