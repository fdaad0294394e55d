//! `verify-elf diff OLD NEW`: what changed between two releases of a file.
//!
//! It says what is different and judges nothing: the exit code is 0 whatever it finds.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail};
use clap::ValueEnum;
use elf_gate::report::{Diff, DiffSide};
use elf_gate::{Evidence, RuleOutcome, Stage, policy};

use super::judge::Shown;
use super::output::{self, Color};
use super::policies::{self, Policies};
use crate::Outcome;

#[derive(clap::Args)]
pub struct Args {
    old: PathBuf,
    new: PathBuf,
    #[command(flatten)]
    policies: policies::PolicyArgs,
    #[arg(long, default_value = "human")]
    format: Format,
    /// List all symbols that came or went.
    #[arg(long, short)]
    verbose: bool,
    #[arg(long, default_value = "auto")]
    color: Color,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Human,
    Json,
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let policies = Policies::of(&args.policies)?;
    let (old, new) = (read(&args.old)?, read(&args.new)?);
    let (old_rules, new_rules) = (judge(&old, &policies), judge(&new, &policies));
    let (old_name, new_name) = (args.old.display().to_string(), args.new.display().to_string());
    let diff = Diff::between(
        &DiffSide { file: &old_name, facts: &old.facts, rules: &old_rules },
        &DiffSide { file: &new_name, facts: &new.facts, rules: &new_rules },
    );
    output::print(&match args.format {
        Format::Human => diff.to_human(output::style(args.color, args.verbose)),
        Format::Json => diff.to_json()?,
    })?;
    Ok(Outcome::Pass)
}

fn read(path: &Path) -> anyhow::Result<Shown> {
    match Shown::read(Some(path.into()), "cannot compare") {
        Ok(Some(shown)) => Ok(shown),
        Ok(None) => bail!("no file"),
        Err(unreadable) => Err(anyhow!("{}\nhint: {}", unreadable.error, unreadable.hint)),
    }
}

fn judge(file: &Shown, policies: &Policies) -> Vec<RuleOutcome> {
    let (stage, _) = Stage::detect(&file.facts);
    let name = file.path.display().to_string();
    let evidence = Evidence { file_name: Some(&name), today: Some(policies.today), ..Evidence::default() };
    policy::judge(&file.facts, stage, &policies.at(stage), &evidence)
}
