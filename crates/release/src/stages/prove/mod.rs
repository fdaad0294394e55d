//! Stage `prove`: the packed file is run, and its behaviour is compared with what release.toml promises. A header can hold any
//! number; this is the measurement.
//!
//! Generic proofs (modules `start` and `thread_stack`) need no cooperation of the program and run for every product. Declared
//! proofs (module `command`) are command lines of release.toml, for the processor of the build machine and for emulated ones.
//! Every run has an environment of its own, so what ships depends on nothing of the build machine. All proofs run; all
//! violations are reported together. The digest of the file is taken before and after.
//!
//! A file that UPX 4.2 packed needs no `/proc`. Its stub opens `/proc/self/exe` only to keep the file mapped, ignores a
//! failure, and reads the packed data from the program's own mapping (seen with strace). The proof `no-proc` shows it for
//! each release.

mod check;
mod command;
mod golden;
mod input;
mod isolation;
mod judge;
mod run;
mod start;
#[cfg(test)]
mod tests;
mod thread_stack;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::artifact::Artifact;
use crate::codes::{PROOF_INPUT, PROOF_NOT_MEASURED, PROOF_VIOLATED};
use crate::config::Prove;
use crate::context::BuildContext;
use crate::jobs::Jobs;
use crate::plan::Plan;
use crate::stage::StageId;
use crate::stages::mutation::MutationTested;
use diag::{Diagnostic, Diagnostics};
use process::Runner;
use store::Digest;
use units::ByteSize;

/// One promise that running the file confirmed, as the manifest lists it.
#[derive(Debug, Clone, Serialize)]
pub struct Proof {
    /// Unique among the proofs of a release.
    pub name: String,
    /// The digest of the bytes that were run.
    pub ran_sha256: Digest,
    /// Whether it was measured.
    #[serde(flatten)]
    pub outcome: ProofOutcome,
    /// The promise.
    pub expected: String,
    /// The measurement.
    pub found: String,
    /// Wall time.
    pub elapsed_ms: u64,
}

/// How a proof of a released file ended; a violated one ends the release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum ProofOutcome {
    /// Measured, and it holds.
    Pass,
    /// Not measured; release.toml allows it.
    NotMeasured {
        /// The reason in `prove.allow_not_measured`.
        allowed_because: String,
    },
}

/// What the proofs run, and what they compare it with.
pub struct ProofContext<'a> {
    /// Runs children; signals end them.
    pub runner: &'a Runner,
    /// qemu-user, for emulated processors.
    pub emulator: Option<&'a Path>,
    /// Bounds the number of proofs that run in parallel.
    pub jobs: &'a Jobs,
    /// `[prove]`.
    pub config: &'a Prove,
    /// The file that is run.
    pub file: &'a Artifact,
    /// Folder of release.toml: `{root}`.
    pub root: &'a Path,
    /// `{product}`.
    pub product: &'a str,
    /// `{version}`.
    pub version: &'a str,
    /// The promised stack of threads with default attributes.
    pub stack_size: ByteSize,
}

/// What one proof found.
#[derive(Debug, Clone)]
struct Observation {
    name: String,
    conclusion: Conclusion,
    /// The key of `prove.allow_not_measured` that excuses a missing measurement, if it is not the name.
    permission: Option<&'static str>,
    expected: String,
    found: String,
    /// How to run it by hand.
    command: String,
    elapsed: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conclusion {
    Holds,
    Violated,
    NotMeasured,
}

impl ProofContext<'_> {
    /// Replaces `{root}`, `{product}` and `{version}`.
    fn expand(&self, text: &str) -> String {
        text.replace("{root}", &self.root.to_string_lossy())
            .replace("{product}", self.product)
            .replace("{version}", self.version)
    }
}

/// The packed bytes were run, and every proof of release.toml holds.
///
/// ```compile_fail,E0451
/// use release::stages::{mutation::MutationTested, prove::Proved};
/// fn forge(tested: MutationTested) -> Proved {
///     Proved { tested, proofs: Vec::new() }
/// }
/// ```
#[derive(Debug)]
pub struct Proved {
    tested: MutationTested,
    proofs: Vec<Proof>,
}

impl Proved {
    /// The files before.
    pub fn tested(&self) -> &MutationTested {
        &self.tested
    }

    /// What the runs showed.
    pub fn proofs(&self) -> &[Proof] {
        &self.proofs
    }

    /// For tests of later stages.
    #[cfg(test)]
    pub(crate) fn unchecked(tested: MutationTested) -> Self {
        Self { tested, proofs: Vec::new() }
    }
}

/// Runs the packed file.
pub fn prove(plan: &Plan, context: &BuildContext, tested: MutationTested) -> anyhow::Result<Proved> {
    let toolchain = tested.packed().stripped().linked().native().toolchain();
    let proofs = run_all(&ProofContext {
        runner: &context.runner,
        emulator: toolchain.emulator().map(|tool| tool.path.as_path()),
        jobs: &context.jobs,
        config: &plan.config.prove,
        file: tested.packed().file(),
        root: &plan.paths.root,
        product: &plan.config.product.name,
        version: &plan.version,
        stack_size: plan.config.stack_size,
    })?;
    Ok(Proved { tested, proofs })
}

/// All proofs of one file.
pub fn run_all(context: &ProofContext) -> anyhow::Result<Vec<Proof>> {
    context.file.verify()?;
    // The starts are compared with the first of them, so together they are one piece of work.
    let declared: Vec<_> = context.config.declared_runs().collect();
    let observations = context.jobs.map(2 + declared.len(), |index| match index {
        0 => start::observe(context),
        1 => Ok(vec![thread_stack::observe(context)?]),
        _ => {
            let (command, cpu) = declared[index - 2];
            command::observe(context, command, cpu)
        }
    });
    let observations = observations.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
    context.file.verify()?;
    settle(context, observations)
}

/// Names of the proofs that a description declares, for the plan. A report adds one for each of its checks.
pub fn names(config: &Prove) -> Vec<String> {
    let mut names = start::names(config);
    names.push(thread_stack::NAME.into());
    names.extend(config.declared_runs().map(|(command, cpu)| command.name_on(cpu)));
    names
}

/// Proofs, or every violation and every measurement that is missing without permission.
fn settle(context: &ProofContext, observations: Vec<Observation>) -> anyhow::Result<Vec<Proof>> {
    let mut proofs = Vec::new();
    let mut problems = Diagnostics::default();
    for observation in observations {
        let permission = observation.permission.unwrap_or(&observation.name);
        let allowed = context.config.allow_not_measured.get(permission);
        let outcome = match (observation.conclusion, allowed) {
            (Conclusion::Holds, _) => ProofOutcome::Pass,
            (Conclusion::NotMeasured, Some(reason)) => {
                ProofOutcome::NotMeasured { allowed_because: reason.clone() }
            }
            _ => {
                problems.push(diagnostic(context.file, observation));
                continue;
            }
        };
        proofs.push(Proof {
            name: observation.name,
            ran_sha256: context.file.sha256().clone(),
            outcome,
            expected: observation.expected,
            found: observation.found,
            elapsed_ms: u64::try_from(observation.elapsed.as_millis()).unwrap_or(u64::MAX),
        });
    }
    problems.into_result()?;
    Ok(proofs)
}

fn diagnostic(file: &Artifact, observation: Observation) -> Diagnostic {
    let Observation { name, conclusion, expected, found, command, .. } = observation;
    let diagnostic = if conclusion == Conclusion::Violated {
        Diagnostic::new(&PROOF_VIOLATED, format!("the proof `{name}` does not hold"))
            .hint(format!("to run it by hand:\n{command}"))
    } else {
        Diagnostic::new(&PROOF_NOT_MEASURED, format!("the proof `{name}` could not be made"))
            .hint(PROOF_NOT_MEASURED.sections.last().map_or("", |(_, fix)| *fix))
    };
    diagnostic.file(file.path()).stage(StageId::Prove.name()).rule(name).expected(expected).found(found)
}
