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
    /// The outcomes since the last snapshot.
    text: String,
}

impl Table {
    #[track_caller]
    fn check(&mut self, rule: &'static str, stage: Stage, policy: &str, bytes: &[u8], verdict: Verdict) {
        self.check_with(rule, stage, policy, bytes, &Evidence::default(), verdict);
    }

    #[track_caller]
    fn check_with(
        &mut self,
        rule: &'static str,
        stage: Stage,
        policy: &str,
        bytes: &[u8],
        evidence: &Evidence,
        verdict: Verdict,
    ) {
        let outcome = outcome(rule, stage, policy, bytes, evidence);
        assert_eq!(outcome.verdict, verdict, "{outcome:#?}");
        assert_eq!(outcome.hint.is_empty(), verdict == PASS, "{outcome:#?}");
        self.seen.push((rule, verdict));
        self.text += &format!("{rule}, {stage:?}: {verdict:?}\n");
        let policy = policy.replace('\n', "; ");
        for (label, text) in [
            ("policy", &policy),
            ("expected", &outcome.expected),
            ("found", &outcome.found),
            ("hint", &outcome.hint),
        ] {
            if !text.is_empty() {
                self.text += &format!("  {label:8} {}\n", text.replace('\n', "\n           "));
            }
        }
    }
}

#[test]
fn every_rule_accepts_a_good_file_and_detects_a_bad_one() {
    let mut table = Table::default();
    load::check(&mut table);
    insta::assert_snapshot!("every_rule_load", std::mem::take(&mut table.text));
    layout::check(&mut table);
    insta::assert_snapshot!("every_rule_layout", std::mem::take(&mut table.text));
    link::check(&mut table);
    insta::assert_snapshot!("every_rule_link", std::mem::take(&mut table.text));
    symbols::check(&mut table);
    insta::assert_snapshot!("every_rule_symbols", std::mem::take(&mut table.text));
    runtimes::check(&mut table);
    insta::assert_snapshot!("every_rule_runtimes", std::mem::take(&mut table.text));
    code::check_isa_baseline(&mut table);
    code::check_vector_loops(&mut table);
    insta::assert_snapshot!("every_rule_code", std::mem::take(&mut table.text));
    build::check(&mut table);
    insta::assert_snapshot!("every_rule_build", std::mem::take(&mut table.text));
    strip::check(&mut table);
    insta::assert_snapshot!("every_rule_strip", std::mem::take(&mut table.text));
    object_and_debug::check(&mut table);
    insta::assert_snapshot!("every_rule_object_and_debug", std::mem::take(&mut table.text));
    packed::check(&mut table);
    insta::assert_snapshot!("every_rule_packed", std::mem::take(&mut table.text));
    waivers::check(&mut table);
    insta::assert_snapshot!("every_rule_waivers", std::mem::take(&mut table.text));
    for rule in RULES {
        for verdict in [PASS, VIOLATION] {
            assert!(table.seen.contains(&(rule.id(), verdict)), "no file for `{}`: {verdict:?}", rule.id());
        }
    }
}
