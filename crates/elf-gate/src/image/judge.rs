//! The judgement of an image.

use crate::image::evidence::{ImageEvidence, ImageRuleInput};
use crate::image::policy::ImagePolicy;
use crate::image::rules::{RULES, Rule};
use crate::policy::{RuleOutcome, Severity, Verdict, Waived};

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
