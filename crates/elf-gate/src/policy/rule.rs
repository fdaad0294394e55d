//! The type of a rule, and the input of its check.

use diag::{Class, Code, Section};
use elf_facts::facts::Facts;

use crate::policy::check_result::CheckResult;
use crate::policy::evidence::Evidence;
use crate::policy::schema::Policy;
use crate::policy::stage::{Stage, StageSet};
use crate::policy::waiver_usage::WaiverUsage;

/// A rule: what it detects, why, where it applies, and its check.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Name, explanation and fix; the fix is its last section.
    pub code: Code,
    /// Stages at which it applies.
    pub stages: &'static [Stage],
    pub(super) is_enabled: fn(&Policy) -> bool,
    pub(super) check: fn(&RuleInput) -> CheckResult,
}

/// The texts of a rule.
pub(super) struct RuleText {
    pub(super) id: &'static str,
    /// What violates it.
    pub(super) detects: &'static str,
    pub(super) sections: &'static [Section],
}

impl Rule {
    pub(super) const fn new(
        text: RuleText,
        stages: StageSet,
        is_enabled: fn(&Policy) -> bool,
        check: fn(&RuleInput) -> CheckResult,
    ) -> Rule {
        let RuleText { id, detects, sections } = text;
        let code = Code { id, class: Class::Violation, summary: detects, sections };
        Rule { code, stages: stages.stages, is_enabled, check }
    }

    /// Stable, kebab-case: manifests, waivers and scripts refer to it.
    pub const fn id(&self) -> &'static str {
        self.code.id
    }

    /// What to do about a violation.
    pub fn fix(&self) -> &'static str {
        self.code.sections.last().map_or("", |(_, text)| *text)
    }

    /// Whether a judgement at that stage by that policy contains an outcome of this rule.
    pub fn applies(&self, stage: Stage, policy: &Policy) -> bool {
        self.stages.contains(&stage) && (self.is_enabled)(policy)
    }
}

/// Defines the rules of one area. Each text starts in lower case and ends without a full stop.
macro_rules! rules {
    ($($id:literal at $stages:ident, enabled by $enabled_by:literal if $is_enabled:expr => $check:path {
        detects: $detects:literal,
        rationale: $rationale:literal,
        incident: $incident:literal,
        other_tools: $other_tools:literal,
        fix: $fix:literal,
    })+) => {
        pub(in crate::policy) const RULES: &[crate::policy::rule::Rule] = &[$(
            crate::policy::rule::Rule::new(
                crate::policy::rule::RuleText {
                    id: $id,
                    detects: $detects,
                    sections: &[
                        ("stages", crate::policy::stage::$stages.text),
                        ("enabled by", $enabled_by),
                        ("rationale", $rationale),
                        ("incident", $incident),
                        ("other tools", $other_tools),
                        ("fix", $fix),
                    ],
                },
                crate::policy::stage::$stages,
                $is_enabled,
                $check,
            ),
        )+];
    };
}
pub(super) use rules;

/// Everything that a check may use.
pub(super) struct RuleInput<'a> {
    pub(super) facts: &'a Facts,
    pub(super) stage: Stage,
    pub(super) policy: &'a Policy,
    pub(super) evidence: &'a Evidence<'a>,
    pub(super) waivers: &'a WaiverUsage<'a>,
    /// All rules: a waiver is unused only where its rule is judged.
    pub(super) rules: &'static [Rule],
}
