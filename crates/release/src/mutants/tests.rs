//! The proof itself can fail: a gate that lets a mutant pass, and a mutant that is none, each end the run.

use std::path::{Path, PathBuf};

use super::*;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(root().join("fixtures/elf").join(name)).unwrap()
}

/// The fixtures in the place of what ships; their symbols are those of `fixtures/elf/start.c`.
fn config() -> Config {
    let mut config = Config::load(&root().join("release.toml")).unwrap();
    config.gate.linked.required_symbols = Some(vec!["required_function".into()]);
    config.gate.linked.forbidden_symbols = Some(vec!["dl_*".into()]);
    config
}

/// Asks of the fixture only what holds for every static program, so that one change breaks one rule.
fn lenient_config() -> Config {
    let mut config = config();
    let gate = &mut config.gate;
    for layer in [&mut gate.every, &mut gate.linked, &mut gate.stripped, &mut gate.packed] {
        *layer = Default::default();
    }
    config
}

fn originals(config: &Config) -> Originals<'_> {
    let (stripped, debug) = (fixture("stripped"), fixture("stripped.debug"));
    Originals {
        config,
        target: "x86_64-unknown-linux-musl",
        linked: fixture("linked"),
        stripped_sha256: Digest::of(&stripped).as_str().into(),
        stripped,
        debug_facts: elf_gate::inspect(&debug).unwrap(),
        debug,
        debug_name: "stripped.debug",
        packed: fixture("packed-nrv2b"),
        repacked: fixture("packed-no-stack-size"),
    }
}

fn only(subject: Subject, rule: &'static str) -> Vec<Mutant> {
    let mutants = table::MUTANTS.iter().filter(|m| m.subject == subject && m.rule == rule);
    mutants.map(|m| Mutant { name: m.name, subject: m.subject, rule: m.rule, make: m.make }).collect()
}

fn failure(mutants: &[Mutant], originals: &Originals) -> MutantFailure {
    run(mutants, originals).unwrap_err().downcast().expect("a failure of the mutants")
}

#[test]
fn headers_of_the_fixtures_are_challenged() {
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
        (Subject::Linked, "size-budget"),
        (Subject::Linked, "size-growth"),
        (Subject::Packed, "no-interpreter"),
        (Subject::Packed, "no-needed"),
        (Subject::Packed, "inner-machine"),
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
        let matrix = run(&mutants, &originals).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert!(matrix.mutants.iter().all(|kill| kill.killed_by.contains(&rule)), "{matrix:?}");
    }
}

/// A release that no longer promises the size that the mutant takes away: the mutant passes.
#[test]
fn a_survivor_is_a_failure() {
    let mut config = config();
    config.stack_size.0 = 0;
    let originals = originals(&config);
    let mutants = [Mutant {
        name: "stack size zeroed",
        subject: Subject::Linked,
        rule: "stack-size",
        make: |bytes, _| damage::set_stack_size(bytes, 0),
    }];
    let failure = failure(&mutants, &originals);
    assert_eq!(failure.0[0].fate, Fate::Survived);
    assert!(failure.to_string().contains("expected: a violation of `stack-size`"), "{failure}");
}

/// Violating some rule is not enough: the one that is meant for it must speak.
#[test]
fn a_mutant_killed_by_another_rule_has_survived() {
    let config = lenient_config();
    let mutants = [Mutant {
        name: "machine changed",
        subject: Subject::Linked,
        rule: "no-interpreter",
        make: |bytes, _| damage::set_machine(bytes, 183),
    }];
    let failure = failure(&mutants, &originals(&config));
    assert_eq!(failure.0[0].killed_by, ["machine"]);
    assert!(failure.to_string().contains("found:    only machine"), "{failure}");
}

#[test]
fn a_void_mutant_is_a_failure() {
    let config = config();
    let nothing: fn(&mut Vec<u8>, &Originals) -> Result<(), String> = |_, _| Ok(());
    let no_such: fn(&mut Vec<u8>, &Originals) -> Result<(), String> =
        |bytes, _| damage::rename_symbol(bytes, "not_there", "whatever");
    for (make, why) in [(nothing, "byte for byte"), (no_such, "no symbol `not_there`")] {
        let mutants = [Mutant { name: "void", subject: Subject::Linked, rule: "stack-size", make }];
        let failure = failure(&mutants, &originals(&config));
        assert!(matches!(&failure.0[0].fate, Fate::Void(found) if found.contains(why)), "{failure}");
        assert!(failure.to_string().contains("void"), "{failure}");
    }
}

#[test]
fn no_mutant_at_all_is_a_failure() {
    let config = config();
    assert!(run(&[], &originals(&config)).is_err());
}

#[test]
fn rules_that_no_mutant_challenges_are_named() {
    let config = config();
    let matrix = run(&only(Subject::Linked, "machine"), &originals(&config)).unwrap();
    assert!(matrix.unchallenged.contains(&"stack-size at linked".to_string()), "{:?}", matrix.unchallenged);
    assert!(!matrix.unchallenged.contains(&"machine at linked".to_string()));
}

/// A rule that release.toml demands and that nobody challenges does not ship.
#[test]
fn every_rule_of_the_release_has_a_mutant() {
    let mut config = config();
    assert_eq!(unchallenged(table::MUTANTS, &originals(&config)), [""; 0]);
    config.gate.linked.needs_fortify = Some(true);
    assert_eq!(unchallenged(table::MUTANTS, &originals(&config)), ["fortify at linked"]);
}
