//! Judgement: facts, a policy and evidence in; one outcome for every rule that the policy demands out.
//!
//! Passes are outcomes too, so that a manifest can list what was checked. "Cannot tell" is a verdict of its own and
//! never a pass: a rule whose evidence is missing must not look like one that holds.
//!
//! Opens no file and starts no process; what else the judge may look at arrives as [`Evidence`].

mod glob;
mod load;
mod packed;
mod preset;
mod rules;
mod stage;
mod strip;
mod symbols;
mod waiver;

use serde::{Deserialize, Serialize};

pub use rules::{RULES, Rule, rule};
pub use stage::{Stage, UnknownStage};
pub use waiver::{Date, Waived, Waiver};

use crate::facts::Facts;

/// What is demanded of a file at one stage. The default demands what holds for every program: no executable stack,
/// no segment that is writable and executable. What loosens that has a long name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Exact: musl takes the size from PT_GNU_STACK, and 16 MiB asked for gives 8 MiB without a word.
    pub stack_size_bytes: Option<u64>,
    pub is_static: bool,
    /// Such as `x86_64` or `aarch64`.
    pub machine: Option<String>,
    /// Must be defined in `.symtab`. `*` stands for any characters.
    pub required_symbols: Vec<String>,
    /// Must not appear in `.symtab`, neither defined nor as a reference. `*` stands for any characters.
    pub forbidden_symbols: Vec<String>,
    pub stripped: bool,
    pub needs_build_id: bool,
    /// The split debug file must be shown and belong to this file.
    pub needs_debug_file: bool,
    /// A packed file must be shown to unpack to its stripped parent.
    pub needs_round_trip: bool,
    pub allow_executable_stack: bool,
    pub allow_writable_executable_segments: bool,
}

/// What the judge may look at besides the file. Whatever a rule needs and does not find here it cannot tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Evidence<'a> {
    /// Facts of the split debug file.
    pub debug_file: Option<&'a Facts>,
    /// Its name without folders, as `.gnu_debuglink` holds it.
    pub debug_file_name: Option<&'a str>,
    /// Its bytes, for the CRC-32 in `.gnu_debuglink`.
    pub debug_file_bytes: Option<&'a [u8]>,
    /// Facts of the file that was packed.
    pub parent: Option<&'a Facts>,
    /// SHA-256 of the file that was packed, lower-case hex.
    pub parent_sha256: Option<&'a str>,
    /// SHA-256 of what unpacking gave back, lower-case hex; or why it could not be unpacked.
    pub unpacked_sha256: Option<Result<&'a str, &'a str>>,
    /// How the file is called, for waivers that name files.
    pub file_name: Option<&'a str>,
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
    let case = Case { facts, policy, evidence };
    let demanded = RULES.iter().filter(|rule| rule.stages.contains(&stage) && (rule.is_demanded)(policy));
    demanded.map(|rule| (rule.check)(&case).outcome(rule)).collect()
}

/// All that a rule gets to see.
struct Case<'a> {
    facts: &'a Facts,
    policy: &'a Policy,
    evidence: &'a Evidence<'a>,
}

/// An outcome before its rule has put its name and its fix to it.
struct Finding {
    verdict: Verdict,
    expected: String,
    found: String,
    hint: Option<String>,
}

impl Finding {
    fn pass_if(holds: bool, expected: impl Into<String>, found: impl Into<String>) -> Finding {
        let verdict = if holds { Verdict::Pass } else { Verdict::Violation };
        Finding { verdict, expected: expected.into(), found: found.into(), hint: None }
    }

    fn cannot_tell(
        expected: impl Into<String>,
        found: impl Into<String>,
        hint: impl Into<String>,
    ) -> Finding {
        let hint = Some(hint.into());
        Finding { verdict: Verdict::CannotTell, expected: expected.into(), found: found.into(), hint }
    }

    fn outcome(self, rule: &Rule) -> RuleOutcome {
        let hint = match self.verdict {
            Verdict::Pass => String::new(),
            _ => self.hint.unwrap_or_else(|| rule.fix.into()),
        };
        RuleOutcome {
            rule: rule.id,
            severity: Severity::Error,
            verdict: self.verdict,
            expected: self.expected,
            found: self.found,
            hint,
            waived: None,
        }
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
