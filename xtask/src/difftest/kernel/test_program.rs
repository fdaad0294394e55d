//! A program whose headers are edited: how it is run, and how the gate judges it.

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;

use elf_gate::facts::LocalPathSearch;
use elf_gate::{Evidence, Facts, Policy, RuleOutcome, Stage, Verdict};
use store::Digest;

/// In place of a rule, for a file that the gate cannot read.
const READER: &str = "reader";
/// Larger originals are not unpacked.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

pub struct TestProgram {
    /// In tables.
    pub name: String,
    pub path: PathBuf,
    pub bytes: Vec<u8>,
    pub args: Vec<OsString>,
    /// Must be in the output of the original.
    pub contains: String,
    pub gate: Gate,
}

/// The judgement of one file, with the evidence that the release has.
pub struct Gate {
    pub stage: Stage,
    pub policy: Policy,
    pub debug: Option<DebugFile>,
    pub parent: Option<Parent>,
}

/// The split debug file.
pub struct DebugFile {
    pub name: String,
    pub bytes: Vec<u8>,
    pub facts: Facts,
}

/// The file before packing.
pub struct Parent {
    pub facts: Facts,
    pub sha256: String,
}

/// Whether violations count. Ignored to see that the comparison fails then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    Applied,
    Ignored,
}

/// Whether the gate accepts a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    Passes,
    /// The first rule that does not pass.
    Refused(&'static str),
    /// The gate ended by a panic: a defect, whether or not the file starts.
    Panicked,
}

impl Gate {
    /// The first rule that does not pass and its words. With every search; for originals.
    pub fn problem(&self, bytes: &[u8]) -> Option<String> {
        let search = LocalPathSearch::new(self.policy.local_paths.clone());
        let facts = match elf_gate::inspect_for(bytes, &search) {
            Ok(facts) => facts,
            Err(error) => return Some(format!("{READER}: {error}")),
        };
        let outcomes = self.outcomes(bytes, &facts, &self.policy, true);
        let problems: Vec<String> = outcomes
            .iter()
            .filter(|outcome| outcome.effective() != Verdict::Pass)
            .map(|outcome| {
                format!("{}: expected {}, found {}", outcome.rule, outcome.expected, outcome.found)
            })
            .collect();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// The judgement of an edited copy. Without the search of `no-local-paths`, which reads every byte, and which no edit of
    /// a header concerns.
    pub fn judge(&self, bytes: &[u8], rules: Rules) -> Judgement {
        std::panic::catch_unwind(AssertUnwindSafe(|| self.judge_or_panic(bytes, rules)))
            .unwrap_or(Judgement::Panicked)
    }

    fn judge_or_panic(&self, bytes: &[u8], rules: Rules) -> Judgement {
        let Ok(facts) = elf_gate::inspect_for(bytes, &LocalPathSearch::new([""; 0])) else {
            return Judgement::Refused(READER);
        };
        if rules == Rules::Ignored {
            return Judgement::Passes;
        }
        let policy = Policy { local_paths: Vec::new(), ..self.policy.clone() };
        // Unpacking takes a tenth of a second, so it runs only when every other rule passes.
        match self.first_refusal(bytes, &facts, &policy, false) {
            Judgement::Passes if self.parent.is_some() => self.first_refusal(bytes, &facts, &policy, true),
            judgement => judgement,
        }
    }

    fn first_refusal(&self, bytes: &[u8], facts: &Facts, policy: &Policy, unpacks: bool) -> Judgement {
        let outcomes = self.outcomes(bytes, facts, policy, unpacks);
        let refused = outcomes.iter().find(|outcome| outcome.effective() != Verdict::Pass);
        refused.map_or(Judgement::Passes, |outcome| Judgement::Refused(outcome.rule))
    }

    /// Without `unpacks`, unpacking is assumed to return the parent.
    fn outcomes(&self, bytes: &[u8], facts: &Facts, policy: &Policy, unpacks: bool) -> Vec<RuleOutcome> {
        let parent_sha256 = self.parent.as_ref().map(|parent| parent.sha256.as_str());
        let unpacked = match parent_sha256 {
            Some(_) if unpacks => Some(unpacked_sha256(bytes, facts)),
            Some(sha256) => Some(Ok(sha256.to_string())),
            None => None,
        };
        let debug = self.debug.as_ref();
        let evidence = Evidence {
            debug_file: debug.map(|debug| &debug.facts),
            debug_file_name: debug.map(|debug| debug.name.as_str()),
            debug_file_bytes: debug.map(|debug| debug.bytes.as_slice()),
            own_bytes: Some(bytes),
            parent: self.parent.as_ref().map(|parent| &parent.facts),
            parent_sha256,
            unpacked_sha256: unpacked.as_ref().map(|result| result.as_deref().map_err(String::as_str)),
            ..Evidence::default()
        };
        elf_gate::judge(facts, self.stage, policy, &evidence)
    }
}

fn unpacked_sha256(bytes: &[u8], facts: &Facts) -> Result<String, String> {
    let upx = facts.upx.as_ref().ok_or("not packed")?;
    let original =
        elf_gate::upx::unpack(bytes, upx, UNPACKED_BYTES_MAX).map_err(|error| error.to_string())?;
    Ok(Digest::of(&original).as_str().into())
}
