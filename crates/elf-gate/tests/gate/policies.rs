//! Policies as files: presets, layers, severities, reasons and waivers.

use elf_gate::policy::{PRESETS, PolicyDocument, Severity};
use elf_gate::{Evidence, Policy, RuleOutcome, Stage, Verdict, judge};

use crate::bytes::{facts, fixture};

fn outcomes(policy: &str, stage: Stage, name: &str, evidence: &Evidence) -> Vec<RuleOutcome> {
    let policy = PolicyDocument::parse(policy).unwrap().at(stage);
    judge(&facts(&fixture(name)), stage, &policy, evidence)
}

fn failing(outcomes: &[RuleOutcome]) -> Vec<&str> {
    let bad = outcomes.iter().filter(|outcome| outcome.effective() != Verdict::Pass);
    bad.map(|outcome| outcome.rule).collect()
}

#[test]
fn presets_pass_what_they_are_for() {
    let check = |preset: &str, stage, name: &str, expected: &[&str]| {
        let policy = Policy::preset(preset, stage).unwrap();
        let outcomes = judge(&facts(&fixture(name)), stage, &policy, &Evidence::default());
        assert_eq!(failing(&outcomes), expected, "{preset} on {name}: {outcomes:#?}");
    };
    for (name, text) in PRESETS {
        assert_eq!(PolicyDocument::preset(name), PolicyDocument::parse(text), "{name}");
    }
    check("static-musl", Stage::Stripped, "stripped", &[]);
    check("static-musl", Stage::Stripped, "no-stack-size", &["stack-size"]);
    check("static-musl", Stage::Stripped, "dynamic", &["kind", "no-interpreter", "no-needed"]);
    check("static-pie-musl", Stage::Stripped, "static-pie", &[]);
    check("static-pie-musl", Stage::Stripped, "stripped", &["kind", "relro"]);
    check("hardened-glibc", Stage::Linked, "rules/hardened", &[]);
    check(
        "hardened-glibc",
        Stage::Linked,
        "rules/careless",
        &["stack-not-executable", "no-rpath", "relro", "stack-protector", "fortify"],
    );
    check("shared-library", Stage::Linked, "rules/libtextrel.so", &["no-text-relocations"]);
    check("shared-library", Stage::Linked, "rules/liblibrary.so", &["relro"]);
}

#[test]
fn layers_replace_and_tables_add_up() {
    let policy = PolicyDocument::parse(
        "extends = 'static-musl'\n\
         [every]\nsize_max = '1 MiB'\nsegment_align_max = '2 MiB'\nseverity = { size-budget = 'warning' }\n\
         [stripped]\nsize_max = '2 MiB'\nseverity = { stripped = 'note' }\n",
    )
    .unwrap();
    let (linked, stripped) = (policy.at(Stage::Linked), policy.at(Stage::Stripped));
    assert!(linked.is_static && !linked.stripped && stripped.stripped);
    assert_eq!(linked.size_max.unwrap().0, 1 << 20);
    assert_eq!(stripped.size_max.unwrap().0, 2 << 20);
    assert_eq!(linked.segment_align_max.unwrap().0, 2 << 20);
    assert_eq!(linked.severity.len(), 1);
    assert_eq!(stripped.severity.len(), 2);
}

#[test]
fn bad_policies_are_refused_with_the_reason() {
    let check = |text: &str, expected: &[&str]| {
        let error = PolicyDocument::parse(text).unwrap_err().to_string();
        for part in expected {
            assert!(error.contains(part), "`{part}` in `{error}`");
        }
    };
    check("extends = 'static-mussel'", &["static-mussel", "`static-pie-musl`"]);
    check("\n[every]\nis_statik = true", &["line 3", "is_statik"]);
    check("[evry]\n", &["line 1", "evry"]);
    check("[every]\nsize_max = '1 MB'", &["line 2", "1 MB", "MiB"]);
    check("[every]\nkinds = ['static']", &["line 2", "static-executable"]);
    check("[every]\nstack_size = { exact = '16 MiB', ceiling = '8 MiB' }", &["above the ceiling", "16 MiB"]);
    check("[every]\nstack_size = { exact = '1 MiB', minimum = '2 MiB' }", &["below the minimum"]);
    check(
        "[every]\nrequired_symbols = ['GOMP_x']\nforbidden_symbols = ['GOMP_*']",
        &["both required", "`GOMP_*`"],
    );
    check("[every]\nseverity = { no-such-rule = 'note' }", &["no rule `no-such-rule`", "stack-size"]);
    check("[every]\nseverity = { stripped = 'note' }", &["weighs `stripped`", "does not demand"]);
    check("[linked]\nstripped = true\nseverity = { stripped = 'note' }", &["does not demand", "linked"]);
    check("[every]\nstripped = true\ncannot_tell = { stripped = ' ' }", &["without a reason"]);
    // All of them, not the first one.
    check(
        "[every]\nstack_size = { exact = '16 MiB', ceiling = '8 MiB' }\nseverity = { no-such-rule = 'note' }\n\
         [linked]\nrequired_symbols = ['a']\nforbidden_symbols = ['a']\ncannot_tell = { stripped = '' }",
        &[
            "5 problems",
            "every stage: a stack of 16 MiB",
            "stage linked: `a` is both",
            "no rule `no-such-rule`",
            "lets stand `stripped`",
            "without a reason",
        ],
    );
    let waiver = |until: &str, rule: &str| {
        format!("[[every.waivers]]\nrule = '{rule}'\nreason = 'r'\nuntil = '{until}'\n")
    };
    check(&waiver("2026-02-30", "not-packed"), &["2026-02-30", "2027-06-30"]);
    check(&waiver("2026-02-28", "stripped"), &["waives `stripped`", "does not demand"]);
    check("[[every.waivers]]\nrule = 'not-packed'\nuntil = '2026-02-28'\n", &["reason"]);
    assert!(PolicyDocument::parse(&waiver("2026-02-28", "not-packed")).is_ok());
}

#[test]
fn severity_decides_what_stops_a_file() {
    let check = |severity: &str, expected: Verdict| {
        let policy = format!("[every]\nsize_max = '1 B'\nseverity = {{ size-budget = '{severity}' }}");
        let outcomes = outcomes(&policy, Stage::Stripped, "stripped", &Evidence::default());
        let outcome = outcomes.iter().find(|outcome| outcome.rule == "size-budget").unwrap();
        assert_eq!((outcome.verdict, outcome.effective()), (Verdict::Violation, expected));
    };
    check("error", Verdict::Violation);
    check("warning", Verdict::Pass);
    check("note", Verdict::Pass);
    assert!(Severity::Error > Severity::Warning && Severity::Warning > Severity::Note);
}

#[test]
fn cannot_tell_stands_only_with_a_reason() {
    let check = |extra: &str, name: &str, verdict, effective, reason: Option<&str>| {
        let policy = format!("[every]\nrequired_symbols = ['x']\n{extra}");
        let outcomes = outcomes(&policy, Stage::Stripped, name, &Evidence::default());
        let outcome = outcomes.iter().find(|outcome| outcome.rule == "required-symbols").unwrap();
        assert_eq!((outcome.verdict, outcome.effective()), (verdict, effective));
        assert_eq!(outcome.waived.as_ref().map(|waived| waived.reason.as_str()), reason);
    };
    let reason = "cannot_tell = { required-symbols = 'judged before stripping' }";
    check("", "stripped", Verdict::CannotTell, Verdict::CannotTell, None);
    check(reason, "stripped", Verdict::CannotTell, Verdict::Pass, Some("judged before stripping"));
    // The reason speaks of what cannot be told, not of what is known to be wrong.
    check(reason, "linked", Verdict::Violation, Verdict::Violation, None);
}

#[test]
fn waivers_narrow_to_files_and_findings() {
    let today = |name: &'static str| Evidence {
        today: Some("2026-06-01".parse().unwrap()),
        file_name: Some(name),
        ..Evidence::default()
    };
    let check = |waivers: &str, name: &'static str, expected: &[&str]| {
        let policy = format!("[every]\nrequired_symbols = ['_start', 'a', 'b']\n{waivers}");
        assert_eq!(failing(&outcomes(&policy, Stage::Linked, name, &today(name))), expected, "{waivers}");
    };
    let waiver = |narrowed: &str| {
        format!(
            "[[every.waivers]]\nrule = 'required-symbols'\nreason = 'r'\nuntil = '2026-12-31'\n{narrowed}\n"
        )
    };
    check("", "linked", &["required-symbols"]);
    check(&waiver(""), "linked", &[]);
    check(&waiver("item = '[ab]'"), "linked", &["required-symbols", "waivers"]);
    check(&waiver("item = 'a'"), "linked", &["required-symbols"]);
    check(&(waiver("item = 'a'") + &waiver("item = 'b'")), "linked", &[]);
    check(&(waiver("") + &waiver("item = 'c'")), "linked", &["waivers"]);
    check(&waiver("file = 'link*'"), "linked", &[]);
    check(&waiver("file = 'other'"), "linked", &["required-symbols"]);

    // Expired: the finding is back, and the waiver is a finding as well.
    let policy =
        format!("[every]\nrequired_symbols = ['a']\n{}", waiver("").replace("2026-12-31", "2026-05-31"));
    let outcomes = outcomes(&policy, Stage::Linked, "linked", &today("linked"));
    assert_eq!(failing(&outcomes), ["required-symbols", "waivers"]);
}

/// One file at a time cannot tell that a waiver names none of them.
#[test]
fn waivers_of_no_file_are_found_over_all_files() {
    let policy = PolicyDocument::parse(
        "[[every.waivers]]\nrule = 'not-packed'\nfile = 'old-*'\nreason = 'r'\nuntil = '2026-12-31'\n",
    )
    .unwrap();
    assert_eq!(policy.waivers_of_no_file(&["old-tool", "new"]), [""; 0]);
    let told = policy.waivers_of_no_file(&["new"]);
    assert!(told.len() == 1 && told[0].contains("`old-*`"), "{told:?}");
}

#[test]
fn a_policy_brings_the_places_to_look_for() {
    let policy = PolicyDocument::parse("[stripped]\nlocal_paths = ['/srv/ci/agent/']").unwrap();
    let bytes = fixture("stripped");
    let judged = |facts: elf_gate::Facts| {
        let outcomes = judge(&facts, Stage::Stripped, &policy.at(Stage::Stripped), &Evidence::default());
        outcomes.into_iter().find(|outcome| outcome.rule == "no-local-paths").unwrap().verdict
    };
    assert_eq!(judged(facts(&bytes)), Verdict::CannotTell);
    assert_eq!(judged(elf_gate::inspect_for(&bytes, &policy.local_paths()).unwrap()), Verdict::Pass);
}
