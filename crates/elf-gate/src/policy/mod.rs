//! Judgement: facts, a policy and evidence in; one outcome for every rule that the policy demands out.
//!
//! Passes are outcomes too, so that a manifest can list what was checked. "Cannot tell" is a verdict of its own and
//! never a pass: a rule whose evidence is missing must not look like one that holds.
//!
//! Opens no file and starts no process; what else the judge may look at arrives as [`Evidence`].

mod build;
mod catalogue;
mod debug;
mod demands;
mod document;
mod glob;
mod harden;
mod inner;
mod link;
mod load;
mod packed;
mod quantity;
mod rules;
mod size;
mod stage;
mod strip;
mod symbols;
mod waiver;

use serde::{Deserialize, Serialize};

pub use catalogue::markdown;
pub use debug::Owner;
pub use demands::{Layer, Policy, StackSize};
pub use document::{PRESETS, PolicyDocument, PolicyError};
pub use quantity::{GlibcVersion, Size};
pub use rules::{RULES, Rule, rule};
pub use stage::{Stage, UnknownStage};
pub use waiver::{Date, Waived, Waiver};

use waiver::Ledger;

use crate::facts::Facts;

/// What the judge may look at besides the file. Whatever a rule needs and does not find here it cannot tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// Facts of the split debug file.
    pub debug_file: Option<&'a Facts>,
    /// Its name without folders, as `.gnu_debuglink` holds it.
    pub debug_file_name: Option<&'a str>,
    /// Its bytes, for the CRC-32 in `.gnu_debuglink`.
    pub debug_file_bytes: Option<&'a [u8]>,
    /// The program that a debug file was split from.
    pub owner: Option<&'a Owner>,
    /// The bytes of the judged file itself, for the CRC-32 that the owner of a debug file holds.
    pub own_bytes: Option<&'a [u8]>,
    /// Facts of the file that was packed.
    pub parent: Option<&'a Facts>,
    /// SHA-256 of the file that was packed, lower-case hex.
    pub parent_sha256: Option<&'a str>,
    /// SHA-256 of what unpacking gave back, lower-case hex; or why it could not be unpacked.
    pub unpacked_sha256: Option<Result<&'a str, &'a str>>,
    /// How the file is called, for waivers that name files.
    pub file_name: Option<&'a str>,
    /// Folders of the very build that made the file, with `/` at the end: as little wanted in it as `local_paths`. They
    /// are not part of the policy, so that a verdict reads the same on every machine.
    pub build_folders: &'a [String],
    /// Size of the same file in the previous release.
    pub previous_size_bytes: Option<u64>,
    /// The day of the judgement, for the expiry of waivers: nothing here reads a clock.
    pub today: Option<Date>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Pass,
    Violation,
    CannotTell,
}

/// How much a rule that does not pass weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Shown, and that is all.
    Note,
    /// Shown as a warning; the file passes all the same.
    Warning,
    /// The file does not pass.
    #[default]
    Error,
}

/// What one rule says about one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleOutcome {
    pub rule: &'static str,
    pub severity: Severity,
    /// What the bytes say, whatever a waiver or a severity makes of it.
    pub verdict: Verdict,
    pub expected: String,
    pub found: String,
    /// Empty when there is nothing to do.
    pub hint: String,
    /// Why a verdict that is not a pass may stand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waived: Option<Waived>,
}

impl RuleOutcome {
    /// What the outcome comes to for the file: what is waived, or weighs less than an error, does not stop it.
    pub fn effective(&self) -> Verdict {
        match self.severity {
            Severity::Error if self.waived.is_none() => self.verdict,
            _ => Verdict::Pass,
        }
    }
}

/// One outcome for each rule that applies at `stage` and that `policy` demands, in the order of [`RULES`].
pub fn judge(facts: &Facts, stage: Stage, policy: &Policy, evidence: &Evidence<'_>) -> Vec<RuleOutcome> {
    let ledger = Ledger::open(policy, evidence);
    let case = Case { facts, stage, policy, evidence, ledger: &ledger };
    let demanded = RULES.iter().filter(|rule| rule.applies(stage, policy));
    demanded.map(|rule| case.judge(rule)).collect()
}

/// All that a rule gets to see.
struct Case<'a> {
    facts: &'a Facts,
    stage: Stage,
    policy: &'a Policy,
    evidence: &'a Evidence<'a>,
    ledger: &'a Ledger<'a>,
}

impl Case<'_> {
    fn judge(&self, rule: &Rule) -> RuleOutcome {
        let mut finding = (rule.check)(self);
        let waived = match finding.verdict {
            Verdict::Pass => None,
            Verdict::CannotTell => self
                .policy
                .cannot_tell
                .get(rule.id)
                .map(|reason| Waived { reason: reason.clone(), until: None })
                .or_else(|| self.ledger.waive(rule.id, &mut finding)),
            Verdict::Violation => self.ledger.waive(rule.id, &mut finding),
        };
        let hint = match finding.verdict {
            Verdict::Pass => String::new(),
            _ => finding.hint.unwrap_or_else(|| rule.fix.into()),
        };
        RuleOutcome {
            rule: rule.id,
            severity: self.policy.severity.get(rule.id).copied().unwrap_or_default(),
            verdict: finding.verdict,
            expected: finding.expected,
            found: finding.found,
            hint,
            waived,
        }
    }
}

/// An outcome before its rule has put its name and its fix to it.
struct Finding {
    verdict: Verdict,
    expected: String,
    found: String,
    hint: Option<String>,
    /// The things that break the rule, one by one, when a waiver may speak of some of them.
    items: Vec<String>,
}

impl Finding {
    fn pass_if(holds: bool, expected: impl Into<String>, found: impl Into<String>) -> Finding {
        let verdict = if holds { Verdict::Pass } else { Verdict::Violation };
        Finding { verdict, expected: expected.into(), found: found.into(), hint: None, items: Vec::new() }
    }

    /// Holds when there is none.
    fn pass_if_none(items: Vec<String>, expected: impl Into<String>) -> Finding {
        let found = list(&items);
        Finding { items, ..Finding::pass_if(found == "none", expected, found) }
    }

    fn cannot_tell(
        expected: impl Into<String>,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Finding {
        let mut finding = Finding::pass_if(false, expected, found);
        finding.verdict = Verdict::CannotTell;
        finding.hint = Some(hint.into());
        finding
    }

    fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }
}

/// `none`, or the items in one line; long lists say how many more there are.
fn list(items: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<&str> = items.iter().take(SHOWN).map(AsRef::as_ref).collect();
    match items.len() {
        0 => "none".into(),
        count if count > SHOWN => format!("{} and {} more", shown.join(", "), count - SHOWN),
        _ => shown.join(", "),
    }
}
