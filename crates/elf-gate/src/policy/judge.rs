//! The judgement: facts, a policy and evidence in, outcomes out.

use elf_facts::facts::Facts;

use crate::policy::evidence::Evidence;
use crate::policy::outcome::{RuleOutcome, Verdict, Waived};
use crate::policy::rule::{Rule, RuleInput};
use crate::policy::schema::Policy;
use crate::policy::stage::Stage;
use crate::policy::table::RULES;
use crate::policy::waiver_usage::WaiverUsage;

/// One outcome for each rule that applies at `stage` and that `policy` enables, in the order of [`RULES`].
///
/// ```
/// use elf_gate::{Evidence, Policy, Stage, Verdict, inspect, judge};
///
/// # let read = |name| std::fs::read(format!("{}/../../fixtures/elf/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
/// # let (good, bad) = (read("stripped"), read("no-stack-size"));
/// let policy = Policy::static_musl(Stage::Stripped, 8 << 20);
/// let violations = |bytes: &[u8]| -> Result<Vec<&str>, elf_gate::FactsError> {
///     let outcomes = judge(&inspect(bytes)?, Stage::Stripped, &policy, &Evidence::default());
///     let failed = outcomes.iter().filter(|outcome| outcome.effective() != Verdict::Pass);
///     Ok(failed.map(|outcome| outcome.rule).collect())
/// };
/// assert_eq!(violations(&good)?, [""; 0]);
/// assert_eq!(violations(&bad)?, ["stack-size"]);
/// # Ok::<(), elf_gate::FactsError>(())
/// ```
pub fn judge(facts: &Facts, stage: Stage, policy: &Policy, evidence: &Evidence<'_>) -> Vec<RuleOutcome> {
    let waivers = WaiverUsage::new(policy, evidence);
    let input = RuleInput { facts, stage, policy, evidence, waivers: &waivers, rules: RULES };
    let enabled = RULES.iter().filter(|rule| rule.applies(stage, policy));
    enabled.map(|rule| outcome(rule, &input)).collect()
}

fn outcome(rule: &Rule, input: &RuleInput) -> RuleOutcome {
    let policy = input.policy;
    let mut result = (rule.check)(input);
    let waived = match result.verdict {
        Verdict::Pass => None,
        Verdict::CannotTell => policy
            .cannot_tell
            .get(rule.id())
            .map(|reason| Waived { reason: reason.clone(), until: None })
            .or_else(|| input.waivers.waive(rule.id(), &mut result)),
        Verdict::Violation => input.waivers.waive(rule.id(), &mut result),
    };
    let hint = match result.verdict {
        Verdict::Pass => String::new(),
        _ => result.hint.unwrap_or_else(|| rule.fix().into()),
    };
    RuleOutcome {
        rule: rule.id(),
        severity: policy.severity.get(rule.id()).copied().unwrap_or_default(),
        verdict: result.verdict,
        expected: result.expected,
        found: result.found,
        hint,
        waived,
    }
}
