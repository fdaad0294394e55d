//! The proof itself can fail: a gate that accepts a mutant, and a mutant without damage, each end the run.

use std::path::{Path, PathBuf};

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> &'static [u8] {
    std::fs::read(root().join("fixtures/elf").join(name)).unwrap().leak()
}

/// The fixtures in place of a product; their symbols are those of `fixtures/elf/start.c`.
fn config() -> Config {
    let mut config = Config::load(&root().join("release.toml")).unwrap();
    config.gate.linked.required_symbols = Some(vec!["required_function".into()]);
    config.gate.linked.forbidden_symbols = Some(vec!["dl_*".into()]);
    config
}

/// Demands only what holds for every static program, so that one change violates one rule.
fn lenient_config() -> Config {
    let mut config = config();
    let gate = &mut config.gate;
    for layer in [&mut gate.every, &mut gate.linked, &mut gate.stripped, &mut gate.packed] {
        *layer = elf_gate::policy::PolicyTable::default();
    }
    config
}

fn originals(config: &Config) -> Originals<'_> {
    let (stripped, debug) = (fixture("stripped"), fixture("stripped.debug"));
    Originals {
        config,
        target: "x86_64-unknown-linux-musl",
        linked: fixture("linked"),
        stripped_sha256: Digest::of(stripped).as_str().into(),
        stripped,
        debug_facts: elf_gate::inspect(debug).unwrap(),
        debug,
        debug_name: "stripped.debug",
        packed: fixture("packed-nrv2b"),
        repacked: fixture("packed-no-stack-size"),
    }
}

fn only(subject: Subject, rule: &'static str) -> Vec<Mutant> {
    let mutants = table::MUTANTS.iter().filter(|m| m.subject == subject && m.rule == rule);
    mutants
        .map(|m| Mutant {
            name: m.name,
            subject: m.subject,
            rule: m.rule,
            is_optional: m.is_optional,
            make: m.make,
        })
        .collect()
}

fn run_all(mutants: &[Mutant], originals: &Originals) -> anyhow::Result<MutationReport> {
    run(mutants, originals, &Jobs::new(2).unwrap())
}

fn problems(mutants: &[Mutant], originals: &Originals) -> Vec<Diagnostic> {
    diag::collect(&run_all(mutants, originals).unwrap_err())
}

#[test]
fn kills_the_mutants_of_the_fixtures() {
    let config = config();
    let originals = originals(&config);
    for (subject, rule) in [
        (Subject::Linked, "stack-size"),
        (Subject::Linked, "stack-not-executable"),
        (Subject::Linked, "machine"),
        (Subject::Linked, "required-symbols"),
        (Subject::Linked, "build-id"),
        (Subject::Linked, "abi"),
        (Subject::Linked, "kind"),
        (Subject::Linked, "segment-align"),
        (Subject::Linked, "undefined-symbols"),
        (Subject::Linked, "isa-baseline"),
        (Subject::Linked, "size-budget"),
        (Subject::Linked, "size-growth"),
        (Subject::Packed, "no-interpreter"),
        (Subject::Packed, "no-needed"),
        (Subject::Packed, "inner-machine"),
        (Subject::Linked, "unique-symbols"),
        (Subject::Linked, "no-ifunc"),
        (Subject::Linked, "glibc-symbols"),
        (Subject::Linked, "no-sanitizer-runtime"),
        (Subject::Linked, "no-dlopen"),
        (Subject::Linked, "tls-size"),
        (Subject::Linked, "has-symbols"),
        (Subject::Stripped, "no-ifunc"),
        (Subject::Stripped, "tls-size"),
        (Subject::Packed, "inner-segment-align"),
        (Subject::Linked, "elf-header"),
        (Subject::Linked, "program-headers"),
        (Subject::Linked, "entry-point"),
        (Subject::Linked, "section-layout"),
        (Subject::Linked, "unclaimed-bytes"),
        (Subject::Linked, "code-pointers"),
        (Subject::Stripped, "entry-point"),
        (Subject::Debug, "debug-file-layout"),
        (Subject::Packed, "elf-header"),
        (Subject::Packed, "program-headers"),
        (Subject::Packed, "entry-point"),
        (Subject::Packed, "inner-headers"),
        (Subject::Linked, READER),
        (Subject::Stripped, "debug-file-matches"),
        (Subject::Stripped, "stripped"),
        (Subject::Debug, "debug-file-matches"),
        (Subject::Packed, "inner-stack-size"),
        (Subject::Packed, "round-trip"),
        (Subject::Packed, "upx-stub-checksum"),
    ] {
        let mutants = only(subject, rule);
        assert!(!mutants.is_empty(), "{rule} has no mutant");
        let matrix = run_all(&mutants, &originals).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert!(matrix.mutants.iter().all(|kill| kill.killed_by.contains(&rule)), "{matrix:?}");
    }
}

/// A release without the demand that the mutant violates: the gate accepts the mutant.
#[test]
fn a_survivor_is_a_failure() {
    let mut config = config();
    config.stack_size.0 = 0;
    let originals = originals(&config);
    let mutants = [Mutant {
        name: "stack size zeroed",
        subject: Subject::Linked,
        rule: "stack-size",
        is_optional: false,
        make: |bytes, _| elf_edit::set_stack_size(bytes, 0),
    }];
    let problems = problems(&mutants, &originals);
    assert_eq!(problems[0].code(), &MUTANT_SURVIVED);
    assert_eq!(diag::exit_code(&problems), 1);
    insta::assert_snapshot!(problems[0], @r"
    mutant `stack size zeroed` proves nothing or is accepted
      --> stage linked, rule stack-size
      expected: a violation of `stack-size`
      found:    only violated: relro, producers
    ");
}

/// A violation of another rule is not enough.
#[test]
fn a_mutant_killed_by_another_rule_has_survived() {
    let config = lenient_config();
    let mutants = [Mutant {
        name: "machine changed",
        subject: Subject::Linked,
        rule: "no-interpreter",
        is_optional: false,
        make: |bytes, _| elf_edit::set_machine(bytes, 183),
    }];
    let problems = problems(&mutants, &originals(&config));
    assert_eq!(problems[0].code(), &MUTANT_SURVIVED);
    assert_eq!(problems[0].fields().found.as_deref(), Some("only violated: machine"));
}

#[test]
fn a_void_mutant_is_a_failure() {
    let config = config();
    let nothing: fn(&mut Vec<u8>, &Originals) -> Result<(), String> = |_, _| Ok(());
    let no_such: fn(&mut Vec<u8>, &Originals) -> Result<(), String> =
        |bytes, _| elf_edit::rename_symbol(bytes, "not_there", "other");
    for (make, why) in [(nothing, "those of the original"), (no_such, "no symbol `not_there`")] {
        let mutants =
            [Mutant { name: "void", subject: Subject::Linked, rule: "stack-size", is_optional: false, make }];
        let problems = problems(&mutants, &originals(&config));
        assert_eq!(problems[0].code(), &MUTANT_VOID);
        assert!(
            problems[0].fields().found.as_deref().is_some_and(|found| found.contains(why)),
            "{problems:?}"
        );
    }
}

#[test]
fn makes_an_optional_mutant_only_for_an_enabled_rule() {
    let mut config = config();
    let mutants = || [only(Subject::Linked, "allocator"), only(Subject::Linked, "has-symbols")].concat();
    // The fixture has no allocator to remove: the mutant is made, and void.
    assert_eq!(problems(&mutants(), &originals(&config))[0].code(), &MUTANT_VOID);
    config.gate.linked.allocators = Some(Vec::new());
    config.gate.linked.severity.remove("allocator");
    assert_eq!(run_all(&mutants(), &originals(&config)).unwrap().mutants.len(), 1);
}

#[test]
fn no_mutant_at_all_is_a_failure() {
    let config = config();
    assert!(run_all(&[], &originals(&config)).is_err());
}

#[test]
fn names_the_rules_that_no_mutant_tests() {
    let config = config();
    let matrix = run_all(&only(Subject::Linked, "machine"), &originals(&config)).unwrap();
    assert!(matrix.untested.contains(&"stack-size at linked".to_string()), "{:?}", matrix.untested);
    assert!(!matrix.untested.contains(&"machine at linked".to_string()));
}

/// A release with an untested rule fails.
#[test]
fn every_rule_of_the_release_has_a_mutant() {
    let mut config = config();
    assert_eq!(untested(table::MUTANTS, &originals(&config)), [""; 0]);
    config.gate.linked.needs_fortify = Some(true);
    assert_eq!(untested(table::MUTANTS, &originals(&config)), ["fortify at linked"]);
}
