//! `cargo xtask dist`: everything, from a clean machine to a proved binary and its image.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args as ClapArgs, ValueEnum};
use release::pipeline::{self, Times};
use release::run::children_cpu_seconds;
use release::units::human_bytes;

use crate::Outcome;
use crate::setup::Common;

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
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(args.dist_dir)?;
    let plan = &setup.plan;
    if args.plan {
        match args.format {
            Format::Human => print!("{}", plan.human()),
            Format::Json => println!("{}", serde_json::to_string_pretty(plan)?),
        }
        return Ok(Outcome::Pass);
    }
    if plan.commit.dirty && !plan.quiet {
        eprintln!(
            "warning: there are changes that are not committed; the manifest and `--version` will say so"
        );
    }
    let started = Instant::now();
    let mut times = Times::default();
    let shipped = pipeline::dist(plan, &setup.site, &mut times)?;
    if args.format == Format::Json {
        println!("{}", serde_json::to_string_pretty(&shipped.manifest)?);
        return Ok(Outcome::Pass);
    }
    println!("{} {} for {}, proved", plan.config.product.name, plan.version, plan.target);
    println!();
    println!("{:<10} {:>8} {:>12}", "stage", "time", "busy cores");
    for time in &times.0 {
        let seconds = time.wall.as_secs_f64();
        println!("{:<10} {seconds:>6.1} s {:>12.2}", time.stage, time.cpu_seconds / seconds.max(0.001));
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("{:<10} {seconds:>6.1} s {:>12.2}", "all", children_cpu_seconds() / seconds.max(0.001));
    println!();
    let stages = &shipped.manifest.stages;
    for stage in stages {
        println!(
            "{:<10} {:>10}  {} rules: {}",
            stage.stage,
            human_bytes(stage.size_bytes),
            stage.rules.len(),
            stage.verdict
        );
    }
    println!("{:<10} {:>10}  {} proofs: pass", "proved", "", shipped.manifest.proofs.len());
    println!();
    for file in &shipped.files {
        println!("{:>10}  {}", human_bytes(file.size_bytes), plan.paths.dist.join(&file.name).display());
    }
    println!();
    println!("image      {}", shipped.image.reference);
    println!("manifest   {}", shipped.image.manifest_digest);
    println!("image id   {}  (what the engine shows after a load)", shipped.image.image_id);
    Ok(Outcome::Pass)
}
