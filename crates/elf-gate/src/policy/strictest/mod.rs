//! The strictest policy that a file satisfies, for a regression gate on the builds that follow.
//!
//! Each key of the schema is tried with the values of [`derivations`]; the judgement decides. A rule that no key disables and
//! that does not pass becomes an exception, so that the file passes its own policy and the exception is visible.

mod derivations;

use std::collections::BTreeMap;

use elf_facts::facts::Facts;
use serde::Deserialize;
use toml::{Table, Value};

use crate::policy::evidence::Evidence;
use crate::policy::judge::judge;
use crate::policy::outcome::{RuleOutcome, Verdict};
use crate::policy::schema::{Policy, PolicyTable};
use crate::policy::stage::Stage;
use crate::policy::table::{RULES, rule};
use crate::policy::text::key_and_value;
use derivations::{Candidates, DERIVATIONS, Derivation};

/// One table of a policy file, derived from a file.
#[derive(Debug, Clone, Default)]
pub struct StrictestTable {
    keys: Vec<DerivedKey>,
    unsatisfied: Vec<Unsatisfied>,
    /// Rules that do not pass and that no key disables.
    pub exceptions: Vec<RuleOutcome>,
    policy: Policy,
}

#[derive(Debug, Clone)]
struct DerivedKey {
    key: &'static str,
    value: Value,
    /// The rules that the key enables or changes.
    rules: Vec<&'static str>,
    relax: &'static str,
}

#[derive(Debug, Clone)]
struct Unsatisfied {
    key: &'static str,
    value: Value,
    outcome: RuleOutcome,
}

/// The strictest requirements that the file satisfies at `stage`.
pub fn strictest(facts: &Facts, stage: Stage, evidence: &Evidence) -> StrictestTable {
    let mut table = StrictestTable::default();
    let judged = |policy: &Policy| judge(facts, stage, policy, evidence);
    let mut outcomes = judged(&table.policy);
    for derivation in DERIVATIONS {
        let (values, is_part) = match derivation.candidates {
            Candidates::Values(values) => (values(facts), false),
            Candidates::PartOfNext(values) => (values(facts), true),
            Candidates::Relaxation => (vec![true.into()], false),
            Candidates::Exempt(_) => continue,
        };
        let mut first_refusal = None;
        for value in values {
            let Some(policy) = with_key(&table.policy, derivation.key, &value) else { continue };
            let candidate = judged(&policy);
            let rules = affected(&outcomes, &candidate);
            let refusal = newly_failing(&outcomes, &candidate);
            let is_kept = match derivation.candidates {
                Candidates::Relaxation => failing(&candidate).count() < failing(&outcomes).count(),
                _ => refusal.is_none() && (is_part || !rules.is_empty()),
            };
            if is_kept {
                let Derivation { key, relax, .. } = *derivation;
                table.keys.push(DerivedKey { key, value, rules, relax });
                (table.policy, outcomes) = (policy, candidate);
                first_refusal = None;
                break;
            }
            first_refusal = first_refusal.or(refusal.map(|outcome| (value, outcome.clone())));
        }
        if let Some((value, outcome)) = first_refusal {
            table.unsatisfied.push(Unsatisfied { key: derivation.key, value, outcome });
        }
    }
    table.exceptions = failing(&outcomes).cloned().collect();
    table
}

fn with_key(policy: &Policy, key: &str, value: &Value) -> Option<Policy> {
    let table: Table = [(key.to_string(), value.clone())].into_iter().collect();
    let table = PolicyTable::deserialize(table).ok()?;
    let mut policy = policy.clone();
    table.merge_into(&mut policy);
    Some(policy)
}

fn failing(outcomes: &[RuleOutcome]) -> impl Iterator<Item = &RuleOutcome> {
    outcomes.iter().filter(|outcome| outcome.verdict != Verdict::Pass)
}

/// The first rule that fails with the candidate only.
fn newly_failing<'a>(before: &[RuleOutcome], candidate: &'a [RuleOutcome]) -> Option<&'a RuleOutcome> {
    failing(candidate).find(|outcome| !failing(before).any(|known| known.rule == outcome.rule))
}

/// Rules that the candidate enables, disables, or gives another requirement.
fn affected(before: &[RuleOutcome], candidate: &[RuleOutcome]) -> Vec<&'static str> {
    let of = |outcomes: &[RuleOutcome], rule: &str| -> Option<String> {
        outcomes.iter().find(|outcome| outcome.rule == rule).map(|outcome| outcome.expected.clone())
    };
    let rules = RULES.iter().map(|rule| rule.id());
    rules.filter(|rule| of(before, rule) != of(candidate, rule)).collect()
}

impl StrictestTable {
    /// The requirements, without exceptions.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The commented text of the table `[name]`.
    pub fn to_text(&self, name: &str) -> String {
        let mut out = format!("[{name}]\n");
        for DerivedKey { key, value, rules, relax } in &self.keys {
            let texts: Vec<String> = rules
                .iter()
                .map(|id| match rule(id) {
                    Some(rule) => format!("{id} detects {}", rule.code.summary),
                    None => id.to_string(),
                })
                .collect();
            for text in texts {
                out += &comment(&text);
            }
            out += &comment(&format!("to relax: {relax}"));
            out += &key_and_value(key, value);
        }
        out += &self.exceptions_text();
        if !self.unsatisfied.is_empty() {
            out += "\n# Not required, because the file does not satisfy it:\n";
        }
        for Unsatisfied { key, value, outcome } in &self.unsatisfied {
            let found = printable(&outcome.found);
            out += &comment(&format!(
                "{} ({}: found {found})",
                key_and_value(key, value).trim_end(),
                outcome.rule
            ));
        }
        out += "\n# Not derived from a file:\n";
        for derivation in DERIVATIONS {
            if let Candidates::Exempt(reason) = derivation.candidates {
                out += &comment(&format!("{}: {reason}", derivation.key));
            }
        }
        out
    }

    /// `severity` and `cannot_tell`, for rules that no key disables.
    fn exceptions_text(&self) -> String {
        let mut severity = Table::new();
        let mut cannot_tell: BTreeMap<&str, String> = BTreeMap::new();
        let mut out = String::new();
        for outcome in &self.exceptions {
            let (found, expected) = (printable(&outcome.found), printable(&outcome.expected));
            match outcome.verdict {
                Verdict::CannotTell => {
                    cannot_tell.insert(outcome.rule, format!("not decidable for the first file: {found}"));
                }
                _ => {
                    out += &comment(&format!(
                        "{} is violated: expected {expected}, found {found}",
                        outcome.rule
                    ));
                    severity.insert(outcome.rule.into(), "warning".into());
                }
            }
        }
        if !severity.is_empty() {
            out += &comment("to relax: nothing; remove the exception as soon as the file is correct");
            out += &key_and_value("severity", &Value::Table(severity));
        }
        if !cannot_tell.is_empty() {
            let table =
                cannot_tell.into_iter().map(|(rule, reason)| (rule.to_string(), reason.into())).collect();
            out += &comment("rules without their evidence; remove an exception when the evidence is given");
            out += &key_and_value("cannot_tell", &Value::Table(table));
        }
        if out.is_empty() { out } else { format!("\n{out}") }
    }
}

/// One line: texts quote the file, and a line end would end the comment.
fn comment(text: &str) -> String {
    format!("# {}\n", printable(text))
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_derivation_or_an_exemption() {
        for key in PolicyTable::KEYS {
            let count = DERIVATIONS.iter().filter(|derivation| derivation.key == *key).count();
            assert_eq!(count, 1, "the key `{key}` needs one line in policy/strictest/derivations.rs");
        }
        for derivation in DERIVATIONS {
            assert!(PolicyTable::KEYS.contains(&derivation.key), "`{}` is no key", derivation.key);
            let is_exempt = matches!(derivation.candidates, Candidates::Exempt(_));
            assert_eq!(derivation.relax.is_empty(), is_exempt, "{}", derivation.key);
        }
    }
}
