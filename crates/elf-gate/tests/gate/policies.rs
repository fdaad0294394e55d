//! Policy files: presets, tables, severities, reasons and waivers.

use diag::Diagnostics;
use elf_gate::policy::{PRESETS, PolicyDocument, Severity, StackSize};
use elf_gate::{Evidence, Policy, RuleOutcome, Stage, Verdict, judge};

use crate::fixtures::{facts, fixture};

fn outcomes(policy: &str, stage: Stage, name: &str, evidence: &Evidence) -> Vec<RuleOutcome> {
    let policy = PolicyDocument::parse(policy).unwrap().at(stage);
    judge(&facts(&fixture(name)), stage, &policy, evidence)
}

fn failing(outcomes: &[RuleOutcome]) -> Vec<&str> {
    let bad = outcomes.iter().filter(|outcome| outcome.effective() != Verdict::Pass);
    bad.map(|outcome| outcome.rule).collect()
}

#[test]
fn presets_accept_their_kind_of_file() {
    let check = |preset: &str, stage, name: &str, expected: &[&str]| {
        let policy = Policy::preset(preset, stage).unwrap();
        let outcomes = judge(&facts(&fixture(name)), stage, &policy, &Evidence::default());
        assert_eq!(failing(&outcomes), expected, "{preset} on {name}: {outcomes:#?}");
    };
    for (name, text) in PRESETS {
        assert_eq!(PolicyDocument::preset(name).unwrap(), PolicyDocument::parse(text).unwrap(), "{name}");
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
fn stage_tables_replace_values_and_extend_tables_by_rule() {
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
    // The preset has one for `allocator` at this stage.
    assert_eq!(linked.severity.len(), 2);
    assert_eq!(stripped.severity.len(), 2);
}

/// Code, location and message of every problem.
fn problems(text: &str) -> String {
    let Diagnostics(problems) = PolicyDocument::parse(text).unwrap_err();
    diag::render::human(&problems, diag::render::Style::default())
}

#[test]
fn rejects_invalid_policies() {
    let policies = [
        "extends = 'static-mussel'",
        "\n[every]\nis_statik = true",
        "[evry]\n",
        "[every]\nsize_max = '1 MB'",
        "[every]\nkinds = ['static']",
        "[every]\nstack_size = { exact = '16 MiB', ceiling = '8 MiB' }",
        "[every]\nstack_size = { exact = '1 MiB', minimum = '2 MiB' }",
        "[every]\nrequired_symbols = ['GOMP_x']\nforbidden_symbols = ['GOMP_*']",
        "[every]\nseverity = { no-such-rule = 'note' }",
        "[every]\nseverity = { stripped = 'note' }",
        "[linked]\nstripped = true\nseverity = { stripped = 'note' }",
        "[every]\nstripped = true\ncannot_tell = { stripped = ' ' }",
        "[[every.waivers]]\nrule = 'not-packed'\nreason = 'r'\nuntil = '2026-02-30'\n",
        "[[every.waivers]]\nrule = 'stripped'\nreason = 'r'\nuntil = '2026-02-28'\n",
        "[[every.waivers]]\nrule = 'not-packed'\nuntil = '2026-02-28'\n",
    ];
    let text: Vec<String> =
        policies.iter().map(|policy| format!("{}\n\n{}", policy.trim(), problems(policy))).collect();
    insta::assert_snapshot!(text.join("\n"));
    let valid = "[[every.waivers]]\nrule = 'not-packed'\nreason = 'r'\nuntil = '2026-02-28'\n";
    assert!(PolicyDocument::parse(valid).is_ok());
}

#[test]
fn reports_all_problems_of_a_policy_together() {
    let policy = "[every]\nstack_size = { exact = '16 MiB', ceiling = '8 MiB' }\nseverity = { no-such-rule = 'note' }\n\
                  [linked]\nrequired_symbols = ['a']\nforbidden_symbols = ['a']\ncannot_tell = { stripped = '' }";
    insta::assert_snapshot!(problems(policy));
}

#[test]
fn reads_the_gate_of_a_release_file() {
    let release = "[product]\nname = 'p'\ntargets = ['x86_64-unknown-linux-musl', 'aarch64-unknown-linux-musl']\n\
                   [link]\nstack_size = '2 MiB'\n[image]\nuser = '0:0'\n\
                   [gate]\nextends = 'static-musl'\n[gate.linked]\nneeds_build_id = true\n";
    let document = PolicyDocument::parse_file(release).unwrap();
    for stage in Stage::ALL {
        let policy = document.at(stage);
        assert_eq!(policy.machines, ["x86_64"], "{stage}");
        assert_eq!(policy.stack_size, StackSize::exactly(2 << 20), "{stage}");
        assert!(policy.is_static, "{stage}");
    }
    assert!(document.at(Stage::Linked).needs_build_id && !document.at(Stage::Stripped).needs_build_id);
    let misspelled = release.replace("needs_build_id", "needs_build_ids");
    let Diagnostics(errors) = PolicyDocument::parse_file(&misspelled).unwrap_err();
    assert_eq!(errors[0].fields().subject.location.unwrap().line, 11, "{errors:?}");
    // A file without the table is a policy file.
    assert_eq!(
        PolicyDocument::parse_file("[every]\nstripped = true"),
        PolicyDocument::parse("[every]\nstripped = true")
    );
}

#[test]
fn only_errors_stop_a_file() {
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
fn a_reason_accepts_only_cannot_tell() {
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
    // The reason does not accept a violation.
    check(reason, "linked", Verdict::Violation, Verdict::Violation, None);
}

#[test]
fn waivers_apply_to_files_and_items() {
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

    // Expired: the violation counts again, and the waiver is a violation too.
    let policy =
        format!("[every]\nrequired_symbols = ['a']\n{}", waiver("").replace("2026-12-31", "2026-05-31"));
    let outcomes = outcomes(&policy, Stage::Linked, "linked", &today("linked"));
    assert_eq!(failing(&outcomes), ["required-symbols", "waivers"]);
}

#[test]
fn reports_waivers_that_match_no_file() {
    let policy = PolicyDocument::parse(
        "[[every.waivers]]\nrule = 'not-packed'\nfile = 'old-*'\nreason = 'r'\nuntil = '2026-12-31'\n",
    )
    .unwrap();
    assert_eq!(policy.waivers_without_file(&["old-tool", "new"]), []);
    let reported = policy.waivers_without_file(&["new"]);
    insta::assert_snapshot!(diag::render::human(&reported, diag::render::Style::default()), @"
    error[waiver-without-file]: the waiver for `not-packed` names `old-*`, which matches no file
      --> rule not-packed
    hint: remove the waiver, or judge that file in the same run
    ");
}

#[test]
fn a_policy_defines_the_path_prefixes_to_search_for() {
    let policy = PolicyDocument::parse("[stripped]\nlocal_paths = ['/srv/ci/agent/']").unwrap();
    let bytes = fixture("stripped");
    let judged = |facts: elf_gate::Facts| {
        let outcomes = judge(&facts, Stage::Stripped, &policy.at(Stage::Stripped), &Evidence::default());
        outcomes.into_iter().find(|outcome| outcome.rule == "no-local-paths").unwrap().verdict
    };
    assert_eq!(judged(facts(&bytes)), Verdict::CannotTell);
    assert_eq!(judged(elf_gate::inspect_for(&bytes, &policy.local_paths()).unwrap()), Verdict::Pass);
}
