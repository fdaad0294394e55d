//! What a rule is: its name, the stages where it applies, what it catches, why that matters, and the fix. The rules of one
//! area stand beside their checks; here they become one table.
//!
//! docs/gates.md is made of these words, and `--explain` prints them.

use super::{
    Case, Finding, Policy, Stage, build, debug, harden, inner, link, load, packed, size, strip, symbols,
    waiver,
};

#[derive(Clone, Copy)]
pub struct Rule {
    /// Stable, kebab-case: manifests, waivers and scripts refer to it.
    pub id: &'static str,
    pub stages: &'static [Stage],
    /// Keys of a policy that switch it on.
    pub demanded_by: &'static str,
    pub catches: &'static str,
    pub why: &'static str,
    /// What went wrong somewhere, and would not have with this rule.
    pub incident: &'static str,
    /// What checksec, LIEF, BinSkim, auditwheel and symcheck do about it.
    pub peers: &'static str,
    pub fix: &'static str,
    pub(super) is_demanded: fn(&Policy) -> bool,
    pub(super) check: fn(&Case) -> Finding,
}

impl Rule {
    /// Whether a judgement at that stage by that policy has an outcome of this rule.
    pub fn applies(&self, stage: Stage, policy: &Policy) -> bool {
        self.stages.contains(&stage) && (self.is_demanded)(policy)
    }
}

/// The rule of that name.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// Waivers come last, when every other rule has had the chance to use one.
const AREAS: [&[Rule]; 11] = [
    load::RULES,
    link::RULES,
    symbols::RULES,
    harden::RULES,
    build::RULES,
    size::RULES,
    strip::RULES,
    debug::RULES,
    packed::RULES,
    inner::RULES,
    waiver::RULES,
];

/// All of them, in the order in which they are judged and shown.
pub static RULES: &[Rule] = &joined();

const fn joined() -> [Rule; count()] {
    let mut all = [AREAS[0][0]; count()];
    let (mut area, mut filled) = (0, 0);
    while area < AREAS.len() {
        let mut index = 0;
        while index < AREAS[area].len() {
            all[filled] = AREAS[area][index];
            (index, filled) = (index + 1, filled + 1);
        }
        area += 1;
    }
    all
}

const fn count() -> usize {
    let (mut area, mut count) = (0, 0);
    while area < AREAS.len() {
        count += AREAS[area].len();
        area += 1;
    }
    count
}

// Where rules apply. What is said of a program says nothing of an object or of a debug file, which nobody loads.
pub(super) const EVERY: &[Stage] = &Stage::ALL;
pub(super) const PROGRAM: &[Stage] = &[Stage::Linked, Stage::Stripped, Stage::Packed];
pub(super) const WITH_CODE: &[Stage] = &[Stage::Object, Stage::Linked, Stage::Stripped, Stage::Packed];
pub(super) const UNPACKED: &[Stage] = &[Stage::Linked, Stage::Stripped];
pub(super) const BEFORE_PACKING: &[Stage] = &[Stage::Object, Stage::Linked, Stage::Stripped];
pub(super) const IDENTIFIED: &[Stage] = &[Stage::Linked, Stage::Stripped, Stage::Debug];
pub(super) const COMPILED: &[Stage] = &[Stage::Object, Stage::Linked];
pub(super) const OBJECT: &[Stage] = &[Stage::Object];
pub(super) const STRIPPED: &[Stage] = &[Stage::Stripped];
pub(super) const DEBUG: &[Stage] = &[Stage::Debug];
pub(super) const PACKED: &[Stage] = &[Stage::Packed];
