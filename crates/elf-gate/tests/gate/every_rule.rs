//! For every rule a file that passes and a file that violates it: built from committed sources, or edited. A module for each group
//! of rules.

mod build;
mod code;
mod layout;
mod link;
mod load;
mod object_and_debug;
mod packed;
mod runtimes;
mod strip;
mod symbols;
mod waivers;

use elf_gate::policy::{PolicyDocument, RULES};
use elf_gate::{Evidence, RuleOutcome, Stage, Verdict, judge};

use crate::fixtures::facts;

const PASS: Verdict = Verdict::Pass;
const VIOLATION: Verdict = Verdict::Violation;
const CANNOT_TELL: Verdict = Verdict::CannotTell;
const LINKED: Stage = Stage::Linked;
const STRIPPED: Stage = Stage::Stripped;
const OBJECT: Stage = Stage::Object;
const DEBUG: Stage = Stage::Debug;
const PACKED: Stage = Stage::Packed;

/// The outcome of one rule, with a policy of these lines.
fn outcome(rule: &str, stage: Stage, policy: &str, bytes: &[u8], evidence: &Evidence) -> RuleOutcome {
    let policy = PolicyDocument::parse(&format!("[every]\n{policy}")).unwrap().at(stage);
    let outcomes = judge(&facts(bytes), stage, &policy, evidence);
    outcomes.into_iter().find(|outcome| outcome.rule == rule).expect("the policy enables the rule")
}

#[derive(Default)]
struct Table {
    seen: Vec<(&'static str, Verdict)>,
}

impl Table {
    #[track_caller]
    fn check(
        &mut self,
        rule: &'static str,
        stage: Stage,
        policy: &str,
        bytes: &[u8],
        verdict: Verdict,
        found: &str,
    ) {
        self.check_with(rule, stage, policy, bytes, &Evidence::default(), verdict, found);
    }

    #[track_caller]
    #[expect(clippy::too_many_arguments, reason = "a row of a table")]
    fn check_with(
        &mut self,
        rule: &'static str,
        stage: Stage,
        policy: &str,
        bytes: &[u8],
        evidence: &Evidence,
        verdict: Verdict,
        found: &str,
    ) {
        let outcome = outcome(rule, stage, policy, bytes, evidence);
        assert_eq!(outcome.verdict, verdict, "{outcome:#?}");
        assert!(outcome.found.contains(found), "`{found}` in {outcome:#?}");
        assert_eq!(outcome.hint.is_empty(), verdict == PASS, "{outcome:#?}");
        self.seen.push((rule, verdict));
    }
}

#[test]
fn every_rule_accepts_a_good_file_and_detects_a_bad_one() {
    let mut table = Table::default();
    load::check(&mut table);
    layout::check(&mut table);
    link::check(&mut table);
    symbols::check(&mut table);
    runtimes::check(&mut table);
    code::check_isa_baseline(&mut table);
    code::check_vector_loops(&mut table);
    build::check(&mut table);
    strip::check(&mut table);
    object_and_debug::check(&mut table);
    packed::check(&mut table);
    waivers::check(&mut table);
    for rule in RULES {
        for verdict in [PASS, VIOLATION] {
            assert!(table.seen.contains(&(rule.id(), verdict)), "no file for `{}`: {verdict:?}", rule.id());
        }
    }
}
