//! The rule on waivers: an unused or expired waiver is a violation, so that no waiver outlives its purpose.

use crate::policy::check_result::CheckResult;
use crate::policy::rule::{RuleInput, rules};
use crate::policy::waiver::Waiver;
use crate::policy::waiver_usage::UsedWaiver;

rules! {
    "waivers" at EVERY, enabled by "`waivers`" if |policy| !policy.waivers.is_empty() => in_force {
        detects: "an expired waiver, or one that is not used at a stage where its rule is judged; `cannot tell` without a date",
        rationale: "an unused exception hides the next violation of the same kind",
        incident: "an exception for one release was still in place three years later",
        other_tools: "none; exceptions of the other tools have neither a reason nor an end",
        fix: "remove the waiver, or set a new date with a new reason; a waiver that only one of many files needs must name it with `file`",
    }
}

/// Runs after all other rules, which record the waivers that they use.
fn in_force(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "only waivers that are used and not expired";
    let entries = &input.waivers.entries;
    let Some(today) = input.waivers.today else {
        let hint = "pass the day of the judgement as evidence";
        return CheckResult::cannot_tell(EXPECTED, format!("{} waivers without a date", entries.len()), hint);
    };
    let describe = |waiver: &Waiver| match &waiver.item {
        Some(item) => format!("`{}` for `{item}`", waiver.rule),
        None => format!("`{}`", waiver.rule),
    };
    let wrong = entries.iter().filter_map(|UsedWaiver { waiver, was_used }| {
        if waiver.until < today {
            return Some(format!("{} expired on {}", describe(waiver), waiver.until));
        }
        // A rule that is not judged at this stage cannot use its waiver here.
        let rule = input.rules.iter().find(|rule| rule.id() == waiver.rule);
        let is_judged = rule.is_none_or(|rule| rule.applies(input.stage, input.policy));
        (is_judged && !was_used.get()).then(|| format!("{} is not used", describe(waiver)))
    });
    let wrong: Vec<String> = wrong.collect();
    let found = if wrong.is_empty() { format!("{} in force", entries.len()) } else { wrong.join("; ") };
    CheckResult::pass_if(wrong.is_empty(), EXPECTED, found)
}
