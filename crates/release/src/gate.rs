//! The ELF gate between two stages: the policy of release.toml for each, and the error when a file does not keep to it.

use std::fmt;
use std::path::{Path, PathBuf};

use elf_gate::{Evidence, Facts, Policy, RuleOutcome, Stage, Verdict};

use crate::artifact::Artifact;
use crate::config::Config;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::plan::Plan;

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

/// What release.toml asks of a file at a stage.
pub fn policy(config: &Config, target: &str, stage: Stage) -> Policy {
    let machine = target.split('-').next().unwrap_or(target);
    let with_symbols = stage == Stage::Linked;
    let names = |names: &[String]| if with_symbols { names.to_vec() } else { Vec::new() };
    Policy {
        required_symbols: names(&config.gate.required_symbols),
        forbidden_symbols: names(&config.gate.forbidden_symbols),
        machine: Some(machine.into()),
        needs_build_id: stage != Stage::Packed,
        needs_debug_file: stage == Stage::Stripped,
        ..Policy::static_musl(stage, config.stack_size.0)
    }
}

pub fn linked(plan: &Plan, file: &Artifact) -> anyhow::Result<Vec<RuleOutcome>> {
    let facts = facts(&file.path, &file.read()?)?;
    judge(plan, file, &facts, Stage::Linked, &Evidence::default())
}

pub fn stripped(plan: &Plan, file: &Artifact, debug: &Artifact) -> anyhow::Result<Vec<RuleOutcome>> {
    let facts_of_file = facts(&file.path, &file.read()?)?;
    let debug_bytes = debug.read()?;
    let facts_of_debug = facts(&debug.path, &debug_bytes)?;
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
    let facts_of_file = facts(&file.path, &file.read()?)?;
    let facts_of_parent = facts(&stripped.path, &stripped.read()?)?;
    let evidence = Evidence {
        parent: Some(&facts_of_parent),
        parent_sha256: Some(stripped.sha256.as_str()),
        unpacked_sha256: Some(Ok(unpacked.as_str())),
        ..Evidence::default()
    };
    judge(plan, file, &facts_of_file, Stage::Packed, &evidence)
}

fn facts(path: &Path, bytes: &[u8]) -> anyhow::Result<Facts> {
    elf_gate::inspect(bytes).map_err(|error| Failure::new(format!("{}: {error}", path.display())).into())
}

fn judge(
    plan: &Plan,
    file: &Artifact,
    facts: &Facts,
    stage: Stage,
    evidence: &Evidence,
) -> anyhow::Result<Vec<RuleOutcome>> {
    let outcomes = elf_gate::judge(facts, stage, &policy(&plan.config, &plan.target, stage), evidence);
    if outcomes.iter().all(|outcome| outcome.effective() == Verdict::Pass) {
        Ok(outcomes)
    } else {
        Err(GateFailure { file: file.path.clone(), stage, outcomes }.into())
    }
}
