//! The ELF gate between two stages: the policy of release.toml for each, and the error when a file does not keep to it.

use std::fmt;
use std::path::{Path, PathBuf};

use elf_gate::facts::LocalPathSearch;
use elf_gate::policy::StackSize;
use elf_gate::{Date, Evidence, Facts, Policy, RuleOutcome, Stage, Verdict};

use crate::artifact::Artifact;
use crate::config::Config;
use crate::plan::Plan;
use diag::Diagnostic;
use store::Digest;

/// A file did not keep its promises. All rules that it broke are in here.
#[derive(Debug)]
pub struct GateFailure {
    pub file: PathBuf,
    pub stage: Stage,
    pub outcomes: Vec<RuleOutcome>,
}

impl GateFailure {
    /// A violated rule is known to be violated; otherwise something could not be told.
    pub fn is_violation(&self) -> bool {
        self.outcomes.iter().any(|outcome| outcome.effective() == Verdict::Violation)
    }
}

impl fmt::Display for GateFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not pass the gate of stage `{}`", self.file.display(), self.stage)?;
        for outcome in self.outcomes.iter().filter(|outcome| outcome.effective() != Verdict::Pass) {
            let said = if outcome.verdict == Verdict::Violation { "violated" } else { "cannot tell" };
            write!(f, "\n  {} {said}", outcome.rule)?;
            write!(f, "\n    expected: {}\n    found:    {}", outcome.expected, outcome.found)?;
            write!(f, "\n    hint: {}", outcome.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for GateFailure {}

/// What release.toml asks of a file at a stage. Stack size and machine stand elsewhere in it and hold here as well.
pub fn policy(config: &Config, target: &str, stage: Stage) -> Policy {
    let machine = target.split('-').next().unwrap_or(target);
    Policy {
        machines: vec![machine.into()],
        stack_size: StackSize::exactly(config.stack_size.0),
        ..config.gate.at(stage)
    }
}

pub fn linked(plan: &Plan, file: &Artifact) -> anyhow::Result<Vec<RuleOutcome>> {
    let facts = facts(plan, Stage::Linked, &file.path, &file.read()?)?;
    judge(plan, file, &facts, Stage::Linked, &Evidence::default())
}

pub fn stripped(plan: &Plan, file: &Artifact, debug: &Artifact) -> anyhow::Result<Vec<RuleOutcome>> {
    let facts_of_file = facts(plan, Stage::Stripped, &file.path, &file.read()?)?;
    let debug_bytes = debug.read()?;
    let facts_of_debug = facts(plan, Stage::Stripped, &debug.path, &debug_bytes)?;
    let evidence = Evidence {
        debug_file: Some(&facts_of_debug),
        debug_file_name: Some(&plan.names.debug),
        debug_file_bytes: Some(&debug_bytes),
        ..Evidence::default()
    };
    judge(plan, file, &facts_of_file, Stage::Stripped, &evidence)
}

/// `unpacked` is the digest of what `upx -d` gave back.
pub fn packed(
    plan: &Plan,
    file: &Artifact,
    stripped: &Artifact,
    unpacked: &Digest,
) -> anyhow::Result<Vec<RuleOutcome>> {
    let facts_of_file = facts(plan, Stage::Packed, &file.path, &file.read()?)?;
    let facts_of_parent = facts(plan, Stage::Packed, &stripped.path, &stripped.read()?)?;
    let evidence = Evidence {
        parent: Some(&facts_of_parent),
        parent_sha256: Some(stripped.sha256.as_str()),
        unpacked_sha256: Some(Ok(unpacked.as_str())),
        ..Evidence::default()
    };
    judge(plan, file, &facts_of_file, Stage::Packed, &evidence)
}

/// What no compiler was to write down: the checkout, and the cache with the sources of OpenBLAS in it.
fn build_folders(plan: &Plan) -> Vec<String> {
    [&plan.paths.root, &plan.paths.cache].map(|folder| format!("{}/", folder.display())).to_vec()
}

fn facts(plan: &Plan, stage: Stage, path: &Path, bytes: &[u8]) -> anyhow::Result<Facts> {
    let local_paths = plan.config.gate.at(stage).local_paths.into_iter().chain(build_folders(plan));
    let local_paths = LocalPathSearch::new(local_paths);
    elf_gate::inspect_for(bytes, &local_paths).map_err(|error| {
        Diagnostic::new(&crate::GENERAL, format!("{}: {error}", path.display())).hint(error.hint()).into()
    })
}

fn judge(
    plan: &Plan,
    file: &Artifact,
    facts: &Facts,
    stage: Stage,
    evidence: &Evidence,
) -> anyhow::Result<Vec<RuleOutcome>> {
    // The day of the commit, not of the build: the same commit is judged alike on every day.
    let today = Some(Date::of_unix_time(plan.commit.epoch_seconds));
    let folders = build_folders(plan);
    let evidence =
        Evidence { file_name: Some(&plan.config.product.name), build_folders: &folders, today, ..*evidence };
    let baseline_size_bytes = plan.previous.as_ref().and_then(|previous| previous.size_bytes(stage));
    let evidence = Evidence { baseline_size_bytes, ..evidence };
    let outcomes = elf_gate::judge(facts, stage, &policy(&plan.config, &plan.target, stage), &evidence);
    if outcomes.iter().all(|outcome| outcome.effective() == Verdict::Pass) {
        Ok(outcomes)
    } else {
        Err(GateFailure { file: file.path.clone(), stage, outcomes }.into())
    }
}
