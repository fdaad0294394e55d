//! Stage `mutation`: shows that the gate can fail. Copies of the files that ship are damaged, and the gate must name each
//! damage.
//!
//! A gate that accepts everything looks exactly like a correct one, so every run shows the difference on the bytes at hand:
//! the rule that is meant for the damage must be among the violated ones. A mutant that can no longer be made, because the
//! bytes changed their structure, is void, and void is a failure: otherwise the proof would lose its subject unnoticed.
//!
//! Mutants are in memory, except one: wrong headers *inside* a packed file need the real packer ([`DamagedPack`]).
//! This stage runs no mutant; `prove` and its tests run programs.

mod copies;
mod damaged_pack;
mod elf_edit;
mod image_mutants;
mod table;

use std::time::Instant;

use anyhow::Context;
use diag::{Diagnostic, Diagnostics};
use elf_gate::facts::LocalPathSearch;
use elf_gate::{Evidence, Facts, RuleOutcome, Stage, Verdict};
use serde::Serialize;
use store::Digest;

use self::copies::{Copies, differences};
pub use self::damaged_pack::{DamagedPack, pack_damaged};
pub(crate) use self::image_mutants::test_image;
use crate::codes::{MUTANT_MISSING, MUTANT_SURVIVED, MUTANT_VOID};
use crate::config::Config;
use crate::context::BuildContext;
use crate::gate;
use crate::jobs::Jobs;
use crate::plan::Plan;
use crate::stage::StageId;
use crate::stages::pack::{Packed, require_made_from};

/// In place of a rule, for a file that the gate must fail to read.
pub const READER: &str = "reader";
const ROUND_TRIP: &str = "round-trip";
const LOCAL_PATHS: &str = "no-local-paths";
const DEBUG_PATHS: &str = "mapped-debug-paths";
/// Rules that decode code, which takes a tenth of a second.
const DECODING: [&str; 2] = ["isa-baseline", "vector-loops"];

/// One kind of damage, and the rule that must reject it.
#[derive(Clone)]
pub(crate) struct Mutant {
    name: &'static str,
    file: MutatedFile,
    rule: &'static str,
    /// Not made when the policy does not enable its rule.
    is_optional: bool,
    make: fn(&mut Vec<u8>, &Originals) -> Result<(), String>,
}

/// The file that a mutant damages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MutatedFile {
    Linked,
    Stripped,
    /// Judged as evidence beside the stripped file.
    Debug,
    Packed,
}

impl MutatedFile {
    fn stage(self) -> Stage {
        match self {
            MutatedFile::Linked => Stage::Linked,
            MutatedFile::Stripped | MutatedFile::Debug => Stage::Stripped,
            MutatedFile::Packed => Stage::Packed,
        }
    }
}

/// The files that ship, and their facts.
pub(crate) struct Originals<'a> {
    config: &'a Config,
    target: &'a str,
    linked: &'a [u8],
    stripped: &'a [u8],
    stripped_sha256: String,
    debug: &'a [u8],
    debug_name: &'a str,
    debug_facts: Facts,
    packed: &'a [u8],
    /// Packed from a copy of the stripped file with wrong headers.
    repacked: &'a [u8],
}

/// The result of one mutant.
#[derive(Debug, Clone, Serialize)]
pub struct MutantResult {
    /// Name of the mutant.
    pub mutant: &'static str,
    /// The stage of the gate that judged it.
    pub stage: Stage,
    /// The rule that must reject it.
    pub expected_rule: &'static str,
    /// Every violated rule; the expected one must be among them.
    pub killed_by: Vec<&'static str>,
    /// The verdict about the gate.
    pub outcome: MutantOutcome,
    /// Elapsed time.
    pub elapsed_us: u64,
}

/// What a mutant shows about the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MutantOutcome {
    /// The expected rule is violated.
    Killed,
    /// The expected rule is not violated.
    Survived,
    /// The mutant could not be made, and why.
    Void(String),
}

/// The results of a whole run.
#[derive(Debug, Clone, Serialize)]
pub struct MutationReport {
    /// Elapsed time.
    pub elapsed_ms: u64,
    /// Rules that the policies demand and that no mutant tests. Always empty in a release.
    pub untested: Vec<String>,
    /// The mutants in the order of the table.
    pub mutants: Vec<MutantResult>,
}

/// The three files passed the gate, and the gate rejected every damaged copy of them.
///
/// ```compile_fail,E0451
/// use release::stages::{mutation::{MutationReport, MutationTested}, pack::Packed};
/// fn forge(packed: Packed, report: MutationReport) -> MutationTested {
///     MutationTested { packed, report }
/// }
/// ```
#[derive(Debug)]
pub struct MutationTested {
    packed: Packed,
    report: MutationReport,
}

impl MutationTested {
    /// The file before.
    pub fn packed(&self) -> &Packed {
        &self.packed
    }

    /// The results.
    pub fn report(&self) -> &MutationReport {
        &self.report
    }

    /// For tests of later stages.
    #[cfg(test)]
    pub(crate) fn unchecked(packed: Packed) -> Self {
        Self { packed, report: MutationReport { elapsed_ms: 0, untested: Vec::new(), mutants: Vec::new() } }
    }
}

/// Judges every mutant of the three files.
pub fn test(
    plan: &Plan,
    context: &BuildContext,
    packed: Packed,
    damaged: &DamagedPack,
) -> anyhow::Result<MutationTested> {
    let stripped = packed.stripped();
    require_made_from("the damaged packed file", damaged.made_from(), stripped)?;
    let debug = stripped.debug().read()?;
    let debug_facts = elf_gate::inspect(debug).context("reading the debug file")?;
    let originals = Originals {
        config: &plan.config,
        target: &plan.target,
        linked: stripped.linked().file().read()?,
        stripped: stripped.file().read()?,
        stripped_sha256: stripped.file().sha256().as_str().into(),
        debug,
        debug_name: &plan.names.debug,
        debug_facts,
        packed: packed.file().read()?,
        repacked: damaged.file().read()?,
    };
    let report = run(table::MUTANTS, &originals, &context.jobs)?;
    report
        .untested
        .iter()
        .map(|rule| {
            Diagnostic::new(&MUTANT_MISSING, "release.toml demands a rule that no mutant tests")
                .stage(StageId::Mutation.name())
                .rule(rule)
                .expected("a mutant for each rule at each stage")
                .hint(
                    "add one to crates/release/src/stages/mutation/table.rs, or do not demand the rule there",
                )
        })
        .collect::<Diagnostics>()
        .into_result()?;
    Ok(MutationTested { packed, report })
}

/// All mutants, on at most as many threads as there are jobs; an error when one survives or is void.
fn run(mutants: &[Mutant], originals: &Originals, jobs: &Jobs) -> anyhow::Result<MutationReport> {
    let started = Instant::now();
    let made: Vec<&Mutant> = mutants.iter().filter(|mutant| originals.needs(mutant)).collect();
    let copies = Copies::default();
    let results = jobs.map(made.len(), |index| kill(made[index], originals, &copies));
    anyhow::ensure!(!results.is_empty(), "the table of mutants is empty");
    results.iter().filter_map(problem).collect::<Diagnostics>().into_result()?;
    Ok(MutationReport {
        elapsed_ms: started.elapsed().as_millis() as u64,
        untested: untested(mutants, originals),
        mutants: results,
    })
}

/// The problem of a mutant that the expected rule did not reject.
fn problem(result: &MutantResult) -> Option<Diagnostic> {
    let (code, found) = match &result.outcome {
        MutantOutcome::Killed => return None,
        MutantOutcome::Void(why) => (&MUTANT_VOID, format!("the mutant cannot be made: {why}")),
        MutantOutcome::Survived if result.killed_by.is_empty() => {
            (&MUTANT_SURVIVED, "no rule is violated".into())
        }
        MutantOutcome::Survived => {
            (&MUTANT_SURVIVED, format!("only violated: {}", result.killed_by.join(", ")))
        }
    };
    Some(
        Diagnostic::new(code, format!("mutant `{}` proves nothing or is accepted", result.mutant))
            .stage(result.stage.name())
            .rule(result.expected_rule)
            .expected(format!("a violation of `{}`", result.expected_rule))
            .found(found)
            .hint(format!(
                "`cargo xtask explain {}` describes the rule; the mutants are in \
                 crates/release/src/stages/mutation/",
                result.expected_rule
            )),
    )
}

fn kill(mutant: &Mutant, originals: &Originals, copies: &Copies) -> MutantResult {
    let started = Instant::now();
    let (killed_by, outcome) = match judge(mutant, originals, copies) {
        Ok(rules) if rules.contains(&mutant.rule) => (rules, MutantOutcome::Killed),
        Ok(rules) => (rules, MutantOutcome::Survived),
        Err(why) => (Vec::new(), MutantOutcome::Void(why)),
    };
    MutantResult {
        mutant: mutant.name,
        stage: mutant.file.stage(),
        expected_rule: mutant.rule,
        killed_by,
        outcome,
        elapsed_us: started.elapsed().as_micros() as u64,
    }
}

/// The violated rules, or why the mutant is void.
fn judge(mutant: &Mutant, originals: &Originals, copies: &Copies) -> Result<Vec<&'static str>, String> {
    let original = originals.of(mutant.file);
    let mut bytes = copies.take(mutant.file, original);
    let made = (mutant.make)(&mut bytes, originals);
    let damage = differences(original, &bytes);
    let result = match made {
        Ok(()) if damage.is_empty() && bytes.len() == original.len() => {
            Err("the bytes are those of the original".into())
        }
        Ok(()) => Ok(originals.violated(mutant, &bytes)),
        Err(why) => Err(why),
    };
    copies.give_back(mutant.file, original, bytes, &damage);
    result
}

impl Originals<'_> {
    fn of(&self, file: MutatedFile) -> &[u8] {
        match file {
            MutatedFile::Linked => self.linked,
            MutatedFile::Stripped => self.stripped,
            MutatedFile::Debug => self.debug,
            MutatedFile::Packed => self.packed,
        }
    }

    /// An optional mutant is made only if the policy enables its rule.
    fn needs(&self, mutant: &Mutant) -> bool {
        let stage = mutant.file.stage();
        let policy = gate::policy(self.config, self.target, stage);
        !mutant.is_optional
            || elf_gate::policy::rule(mutant.rule).is_some_and(|rule| rule.applies(stage, &policy))
    }

    fn violated(&self, mutant: &Mutant, bytes: &[u8]) -> Vec<&'static str> {
        let file = mutant.file;
        let stage = file.stage();
        let policy = gate::policy(self.config, self.target, stage);
        let (facts, evidence, unpacked, damaged_debug);
        match file {
            MutatedFile::Debug => {
                let (Ok(of_stripped), Ok(of_debug)) =
                    (elf_gate::inspect(self.stripped), elf_gate::inspect(bytes))
                else {
                    return vec![READER];
                };
                (facts, damaged_debug) = (of_stripped, of_debug);
                evidence = Evidence {
                    debug_file: Some(&damaged_debug),
                    debug_file_name: Some(self.debug_name),
                    debug_file_bytes: Some(bytes),
                    ..Evidence::default()
                };
            }
            _ => {
                // The search that reads every byte runs only for the mutant of its own rule.
                let searched = match mutant.rule {
                    LOCAL_PATHS | DEBUG_PATHS => policy.local_paths.clone(),
                    _ => Vec::new(),
                };
                let searched = LocalPathSearch::new(searched);
                let Ok(of_bytes) = elf_gate::inspect_for(bytes, &searched) else { return vec![READER] };
                facts = of_bytes;
                evidence = match file {
                    MutatedFile::Stripped => Evidence {
                        debug_file: Some(&self.debug_facts),
                        debug_file_name: Some(self.debug_name),
                        debug_file_bytes: Some(self.debug),
                        ..Evidence::default()
                    },
                    // Unpacking takes a tenth of a second, so it runs only for the mutants of the round trip.
                    MutatedFile::Packed => {
                        unpacked = (mutant.rule == ROUND_TRIP).then(|| unpacked_sha256(bytes, &facts));
                        Evidence {
                            parent_sha256: Some(&self.stripped_sha256),
                            unpacked_sha256: unpacked
                                .as_ref()
                                .map(|result| result.as_deref().map_err(String::as_str)),
                            ..Evidence::default()
                        }
                    }
                    _ if DECODING.contains(&mutant.rule) => {
                        Evidence { own_bytes: Some(bytes), ..Evidence::default() }
                    }
                    _ => Evidence::default(),
                };
            }
        }
        // The size of a mutant is compared with that of its original.
        let baseline_size_bytes = Some(self.of(file).len() as u64);
        let evidence = Evidence { baseline_size_bytes, ..evidence };
        let outcomes = elf_gate::judge(&facts, stage, &policy, &evidence);
        let violated = |outcome: &RuleOutcome| outcome.verdict == Verdict::Violation;
        outcomes.iter().filter(|outcome| violated(outcome)).map(|outcome| outcome.rule).collect()
    }
}

fn unpacked_sha256(bytes: &[u8], facts: &Facts) -> Result<String, String> {
    let upx = facts.upx.as_ref().ok_or("not packed")?;
    let original = elf_gate::upx::unpack(bytes, upx, 1 << 30).map_err(|error| error.to_string())?;
    Ok(Digest::of(&original).as_str().into())
}

/// Rules that the policies demand and that no mutant tests.
fn untested(mutants: &[Mutant], originals: &Originals) -> Vec<String> {
    let mut names = Vec::new();
    for (file, bytes) in [
        (MutatedFile::Linked, originals.linked),
        (MutatedFile::Stripped, originals.stripped),
        (MutatedFile::Packed, originals.packed),
    ] {
        let stage = file.stage();
        let Ok(facts) = elf_gate::inspect(bytes) else { continue };
        let policy = gate::policy(originals.config, originals.target, stage);
        let outcomes = elf_gate::judge(&facts, stage, &policy, &Evidence::default()).into_iter();
        // No bytes violate `waivers`: it is about the policy. The gate's own tests cover it.
        for outcome in outcomes.filter(|outcome| outcome.rule != "waivers") {
            let is_for_rule = |mutant: &&Mutant| mutant.rule == outcome.rule && mutant.file.stage() == stage;
            if !mutants.iter().any(|mutant| is_for_rule(&mutant)) {
                names.push(format!("{} at {stage}", outcome.rule));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests;
