//! Proof that the gate can fail: the files that ship are damaged on purpose, and the gate must name each damage.
//!
//! A gate that passes everything looks exactly like one that guards well, so every run shows the difference on the bytes
//! at hand: the rule that is meant to notice must be among those that are violated. A mutant that no longer can be made
//! (the bytes have changed their shape) is void, and void counts as failure: otherwise the proof would wither unseen.
//!
//! Mutants live in memory, but for one: headers that are wrong *inside* of a packed file need the real packer.
//! Deliberately absent: running a mutant. That is the business of `prove` and of its tests.

mod damage;
mod table;

use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use elf_gate::facts::LocalPathSearch;
use elf_gate::{Evidence, Facts, RuleOutcome, Stage, Verdict};
use serde::Serialize;

use crate::artifact::{Artifact, Challenged, Packed};
use crate::config::Config;
use crate::gate;
use crate::plan::Plan;
use crate::toolchain::{Site, Toolchain};
use diag::Diagnostic;
use process::Task;
use store::{Digest, Fingerprint};
use store::{Record, Store};

/// Stands in the place of a rule where the file must not even be readable.
pub const READER: &str = "reader";
const ROUND_TRIP: &str = "round-trip";
const LOCAL_PATHS: &str = "no-local-paths";
const REPACKED: &str = "packed";

/// One kind of damage, and the rule that must notice it.
pub(crate) struct Mutant {
    name: &'static str,
    subject: Subject,
    rule: &'static str,
    make: fn(&mut Vec<u8>, &Originals) -> Result<(), String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Subject {
    Linked,
    Stripped,
    /// Judged as evidence beside the stripped file.
    Debug,
    Packed,
}

impl Subject {
    fn stage(self) -> Stage {
        match self {
            Subject::Linked => Stage::Linked,
            Subject::Stripped | Subject::Debug => Stage::Stripped,
            Subject::Packed => Stage::Packed,
        }
    }
}

/// The files as they ship, and what the gate knows about them.
pub(crate) struct Originals<'a> {
    config: &'a Config,
    target: &'a str,
    linked: Vec<u8>,
    stripped: Vec<u8>,
    stripped_sha256: String,
    debug: Vec<u8>,
    debug_name: &'a str,
    debug_facts: Facts,
    packed: Vec<u8>,
    /// Packed from a copy of the stripped file whose headers are wrong; right outside.
    repacked: Vec<u8>,
}

/// One row of the kill matrix.
#[derive(Debug, Clone, Serialize)]
pub struct Kill {
    pub mutant: &'static str,
    pub stage: Stage,
    pub expected_rule: &'static str,
    /// Every rule that is violated; the expected one must be among them.
    pub killed_by: Vec<&'static str>,
    pub fate: Fate,
    pub elapsed_us: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    Killed,
    Survived,
    /// It could not be made, and why.
    Void(String),
}

/// What a run of all mutants showed.
#[derive(Debug, Clone, Serialize)]
pub struct KillMatrix {
    pub elapsed_ms: u64,
    /// Demanded by the policy of some stage, and nothing here would notice if they always passed. Never shipped so.
    pub unchallenged: Vec<String>,
    pub mutants: Vec<Kill>,
}

/// The gate let a mutant pass, or a mutant could not be made.
#[derive(Debug)]
pub struct MutantFailure(pub Vec<Kill>);

impl fmt::Display for MutantFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the gate does not prove what it says: damaged copies of the shipped files were not refused",
        )?;
        for kill in &self.0 {
            write!(f, "\n  {} (stage {})", kill.mutant, kill.stage)?;
            write!(f, "\n    expected: a violation of `{}`", kill.expected_rule)?;
            match &kill.fate {
                Fate::Void(why) => write!(f, "\n    found:    void, the mutant could not be made: {why}")?,
                _ if kill.killed_by.is_empty() => f.write_str("\n    found:    it passes")?,
                _ => write!(f, "\n    found:    only {}", kill.killed_by.join(", "))?,
            }
        }
        f.write_str(
            "\n  hint: `cargo xtask verify-elf --explain RULE` says what the rule should catch; the mutants are in \
             crates/release/src/mutants/table.rs",
        )
    }
}

impl std::error::Error for MutantFailure {}

/// The real packer on a stripped copy whose program headers lost the promise. Seconds of work, so it runs beside the
/// packing proper and is kept like that.
pub fn repack(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    stripped: &Artifact,
) -> anyhow::Result<PathBuf> {
    let name = Fingerprint::default()
        .part("file", &stripped.sha256)
        .part("upx", &toolchain.upx.sha256)
        .part("damage", damage::INNER_DAMAGE_VERSION)
        .digest();
    let store = Store::new(plan.paths.work.join("mutants"), site.runner.clone());
    let entry = store.get_or_create(name.short(), |staging| {
        use std::os::unix::fs::PermissionsExt;
        let damaged = staging.join("damaged");
        let mut bytes = stripped.read()?;
        damage::inner(&mut bytes)
            .map_err(anyhow::Error::msg)
            .context("damaging the headers of a stripped copy")?;
        std::fs::write(&damaged, &bytes)?;
        // UPX refuses what is not executable.
        std::fs::set_permissions(&damaged, std::fs::Permissions::from_mode(0o755))?;
        let mut upx = site.command(&toolchain.upx.path);
        // The headers matter, not the ratio: the quickest method.
        upx.args(["-1", "--quiet", "--no-progress", "-o"]).arg(staging.join(REPACKED)).arg(&damaged);
        site.runner.run(Task::new("pack a damaged copy of the binary", upx))?;
        std::fs::remove_file(&damaged)?;
        let mut record = Record::default();
        record.add_file(staging, REPACKED)?;
        Ok(record)
    })?;
    store.prune_except(name.short())?;
    Ok(entry.path.join(REPACKED))
}

/// Judges every mutant of the files that are about to ship.
pub fn challenge(plan: &Plan, packed: Packed, repacked: &std::path::Path) -> anyhow::Result<Challenged> {
    let stripped = &packed.stripped;
    let debug = stripped.debug.read()?;
    let debug_facts = elf_gate::inspect(&debug).context("reading the debug file again")?;
    let originals = Originals {
        config: &plan.config,
        target: &plan.target,
        linked: stripped.linked.file.read()?,
        stripped: stripped.file.read()?,
        stripped_sha256: stripped.file.sha256.as_str().into(),
        debug,
        debug_name: &plan.names.debug,
        debug_facts,
        packed: packed.file.read()?,
        repacked: crate::artifact::read(repacked)?,
    };
    let kills = run(table::MUTANTS, &originals)?;
    if !kills.unchallenged.is_empty() {
        return Err(Diagnostic::new(
            &crate::GENERAL,
            "the policies of release.toml demand rules of which no mutant shows that they can fail",
        )
        .expected("a mutant for each rule at each stage")
        .found(format!("none for {}", kills.unchallenged.join(", ")))
        .hint("add one to crates/release/src/mutants/table.rs, or do not demand the rule there")
        .into());
    }
    Ok(Challenged { packed, kills })
}

/// All mutants, on two threads or more; an error when one survives or is void.
fn run(mutants: &[Mutant], originals: &Originals) -> anyhow::Result<KillMatrix> {
    let started = Instant::now();
    let threads =
        std::thread::available_parallelism().map_or(1, |count| count.get()).min(mutants.len().max(1));
    let mut numbered: Vec<(usize, Kill)> = std::thread::scope(|scope| {
        let worker = |first: usize| {
            let mine = mutants.iter().enumerate().skip(first).step_by(threads);
            mine.map(|(number, mutant)| (number, kill(mutant, originals))).collect::<Vec<_>>()
        };
        let workers: Vec<_> = (0..threads).map(|first| scope.spawn(move || worker(first))).collect();
        workers.into_iter().flat_map(|handle| handle.join().expect("the gate does not panic")).collect()
    });
    numbered.sort_by_key(|(number, _)| *number);
    let kills: Vec<Kill> = numbered.into_iter().map(|(_, kill)| kill).collect();
    let failed: Vec<Kill> = kills.iter().filter(|kill| kill.fate != Fate::Killed).cloned().collect();
    if !failed.is_empty() || kills.is_empty() {
        return Err(MutantFailure(failed).into());
    }
    Ok(KillMatrix {
        elapsed_ms: started.elapsed().as_millis() as u64,
        unchallenged: unchallenged(mutants, originals),
        mutants: kills,
    })
}

fn kill(mutant: &Mutant, originals: &Originals) -> Kill {
    let started = Instant::now();
    let (killed_by, fate) = match fate(mutant, originals) {
        Ok(rules) if rules.contains(&mutant.rule) => (rules, Fate::Killed),
        Ok(rules) => (rules, Fate::Survived),
        Err(why) => (Vec::new(), Fate::Void(why)),
    };
    Kill {
        mutant: mutant.name,
        stage: mutant.subject.stage(),
        expected_rule: mutant.rule,
        killed_by,
        fate,
        elapsed_us: started.elapsed().as_micros() as u64,
    }
}

/// The violated rules; or why there is nothing to judge.
fn fate(mutant: &Mutant, originals: &Originals) -> Result<Vec<&'static str>, String> {
    let original = originals.of(mutant.subject);
    let mut bytes = original.to_vec();
    (mutant.make)(&mut bytes, originals)?;
    if bytes == original {
        return Err("it is the original, byte for byte".into());
    }
    Ok(originals.violated(mutant, &bytes))
}

impl Originals<'_> {
    fn of(&self, subject: Subject) -> &[u8] {
        match subject {
            Subject::Linked => &self.linked,
            Subject::Stripped => &self.stripped,
            Subject::Debug => &self.debug,
            Subject::Packed => &self.packed,
        }
    }

    fn violated(&self, mutant: &Mutant, bytes: &[u8]) -> Vec<&'static str> {
        let subject = mutant.subject;
        let stage = subject.stage();
        let policy = gate::policy(self.config, self.target, stage);
        let (facts, evidence, unpacked, damaged_debug);
        match subject {
            Subject::Debug => {
                let (Ok(of_stripped), Ok(of_debug)) =
                    (elf_gate::inspect(&self.stripped), elf_gate::inspect(bytes))
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
                // The one search that reads every byte is left out where it is not what should tell.
                let searched = match mutant.rule {
                    LOCAL_PATHS => policy.local_paths.clone(),
                    _ => Vec::new(),
                };
                let searched = LocalPathSearch::new(searched);
                let Ok(of_bytes) = elf_gate::inspect_for(bytes, &searched) else { return vec![READER] };
                facts = of_bytes;
                evidence = match subject {
                    Subject::Stripped => Evidence {
                        debug_file: Some(&self.debug_facts),
                        debug_file_name: Some(self.debug_name),
                        debug_file_bytes: Some(&self.debug),
                        ..Evidence::default()
                    },
                    // Unpacking takes a tenth of a second, so only where its digest is what should tell.
                    Subject::Packed => {
                        unpacked = (mutant.rule == ROUND_TRIP).then(|| unpacked_sha256(bytes, &facts));
                        Evidence {
                            parent_sha256: Some(&self.stripped_sha256),
                            unpacked_sha256: unpacked
                                .as_ref()
                                .map(|result| result.as_deref().map_err(String::as_str)),
                            ..Evidence::default()
                        }
                    }
                    _ => Evidence::default(),
                };
            }
        }
        // Every mutant is compared in size with what it was made from.
        let baseline_size_bytes = Some(self.of(subject).len() as u64);
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

/// Rules that the policies demand and that no mutant is meant for.
fn unchallenged(mutants: &[Mutant], originals: &Originals) -> Vec<String> {
    let mut names = Vec::new();
    for (subject, bytes) in [
        (Subject::Linked, &originals.linked),
        (Subject::Stripped, &originals.stripped),
        (Subject::Packed, &originals.packed),
    ] {
        let stage = subject.stage();
        let Ok(facts) = elf_gate::inspect(bytes) else { continue };
        let policy = gate::policy(originals.config, originals.target, stage);
        let outcomes = elf_gate::judge(&facts, stage, &policy, &Evidence::default()).into_iter();
        // Bytes cannot break it: it speaks of the policy. The gate's own tests do.
        for outcome in outcomes.filter(|outcome| outcome.rule != "waivers") {
            let is_meant = |mutant: &&Mutant| mutant.rule == outcome.rule && mutant.subject.stage() == stage;
            if !mutants.iter().any(|mutant| is_meant(&mutant)) {
                names.push(format!("{} at {stage}", outcome.rule));
            }
        }
    }
    names
}

#[cfg(test)]
mod tests;
