//! The judgement of an image.

use crate::containers::Image;
use crate::image::names::Names;
use crate::image::policy::ImagePolicy;
use crate::image::rules::{RULES, Rule};
use crate::policy::{RuleOutcome, Severity, Verdict, Waived};

/// The program that an image runs.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its path in the image.
    pub path: String,
    /// It uses the C library that it was linked with.
    pub is_static: bool,
    /// Names of the program, or of the linked or debug file of the same build. `None` if there are none.
    pub names: Option<Names>,
}

/// An image and its program.
#[derive(Debug, Clone, Copy)]
pub struct ImageEvidence<'a> {
    /// The image.
    pub image: &'a Image,
    /// The program, or why it is not known.
    pub program: Result<&'a Program, &'a str>,
}

/// What a rule on images reads.
pub(super) struct ImageRuleInput<'a> {
    pub(super) evidence: &'a ImageEvidence<'a>,
    pub(super) policy: &'a ImagePolicy,
    /// Outcomes of the rules before it in [`RULES`].
    pub(super) earlier: &'a [RuleOutcome],
}

/// One outcome for each rule on images.
pub fn judge(evidence: &ImageEvidence, policy: &ImagePolicy) -> Vec<RuleOutcome> {
    let mut outcomes = Vec::with_capacity(RULES.len());
    for rule in RULES {
        outcomes.push(outcome(rule, &ImageRuleInput { evidence, policy, earlier: &outcomes }));
    }
    outcomes
}

fn outcome(rule: &Rule, input: &ImageRuleInput) -> RuleOutcome {
    let result = (rule.check)(input);
    let policy = input.policy;
    let severity = match result.verdict {
        // The names of a program are often not at hand, for example of an image from a registry.
        Verdict::CannotTell => Severity::Note,
        _ => rule.severity,
    };
    let waived = match result.verdict {
        Verdict::Pass => None,
        _ => policy.acknowledged.get(rule.id()).map(|reason| Waived { reason: reason.clone(), until: None }),
    };
    let hint = match result.verdict {
        Verdict::Pass => String::new(),
        _ => result.hint.unwrap_or_else(|| rule.fix().into()),
    };
    RuleOutcome {
        rule: rule.id(),
        severity: policy.severity.get(rule.id()).copied().unwrap_or(severity),
        verdict: result.verdict,
        expected: result.expected,
        found: result.found,
        hint,
        waived,
    }
}
