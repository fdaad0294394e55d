//! `elf-gate diff OLD NEW`: the differences between two releases of a file.
//!
//! It reports differences and judges nothing: the exit code is 0 for every difference.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use diag::{Diagnostic, Diagnostics};

use crate::cli::environment::Environment;
use crate::cli::evidence_file::EvidenceFile;
use crate::cli::output::Color;
use crate::cli::policy_args::{PolicyArgs, SelectedPolicy};
use crate::codes;
use crate::policy::{Evidence, RuleOutcome, Stage, judge};
use crate::report::{Diff, DiffSide, Style};

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The earlier file
    old: PathBuf,
    /// The later file
    new: PathBuf,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Format on stdout
    #[arg(long, default_value = "human")]
    pub(super) format: DiffFormat,
    /// List all added and removed symbols
    #[arg(long, short)]
    verbose: bool,
    /// Use of colours
    #[arg(long, default_value = "auto")]
    pub(super) color: Color,
}

/// Format of a diff.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// Text for a terminal.
    Human,
    /// JSON, as schemas/elf-gate-diff-1.schema.json describes it.
    Json,
}

/// The text for stdout.
pub(super) fn run(args: &DiffArgs, environment: &Environment) -> Result<String, Diagnostics> {
    let policy = SelectedPolicy::load(&args.policy)?;
    let mut problems = Diagnostics::default();
    let mut read = |path: &Path| read(path).map_err(|error| problems.push(error)).ok();
    let (Some(old), Some(new)) = (read(&args.old), read(&args.new)) else { return Err(problems) };
    let (old_rules, new_rules) =
        (judge_file(&old, &policy, environment), judge_file(&new, &policy, environment));
    let (old_name, new_name) = (args.old.display().to_string(), args.new.display().to_string());
    let diff = Diff::between(
        &DiffSide { file: &old_name, facts: &old.facts, rules: &old_rules },
        &DiffSide { file: &new_name, facts: &new.facts, rules: &new_rules },
    );
    match args.format {
        DiffFormat::Human => {
            let color = args.color.is_on(environment);
            Ok(diff.to_human(Style { color, shows_passes: args.verbose }))
        }
        DiffFormat::Json => diff.to_json().map_err(|error| {
            Diagnostics(vec![
                Diagnostic::new(&codes::REPORT_NOT_WRITTEN, "cannot render the diff").cause(error),
            ])
        }),
    }
}

fn read(path: &Path) -> Result<EvidenceFile, Diagnostic> {
    EvidenceFile::read(path.into())
}

fn judge_file(file: &EvidenceFile, policy: &SelectedPolicy, environment: &Environment) -> Vec<RuleOutcome> {
    let (stage, _) = Stage::detect(&file.facts);
    let name = file.path.display().to_string();
    let evidence = Evidence { file_name: Some(&name), today: environment.today, ..Evidence::default() };
    judge(&file.facts, stage, &policy.at(stage), &evidence)
}
