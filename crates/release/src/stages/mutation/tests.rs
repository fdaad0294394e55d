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

fn only(file: MutatedFile, rule: &'static str) -> Vec<Mutant> {
    let mutants = table::MUTANTS.iter().filter(|m| m.file == file && m.rule == rule);
    mutants
        .map(|m| Mutant {
            name: m.name,
            file: m.file,
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
    for (file, rule) in [
        (MutatedFile::Linked, "stack-size"),
        (MutatedFile::Linked, "stack-not-executable"),
        (MutatedFile::Linked, "machine"),
        (MutatedFile::Linked, "required-symbols"),
        (MutatedFile::Linked, "build-id"),
        (MutatedFile::Linked, "abi"),
        (MutatedFile::Linked, "kind"),
        (MutatedFile::Linked, "segment-align"),
        (MutatedFile::Linked, "undefined-symbols"),
        (MutatedFile::Linked, "isa-baseline"),
        (MutatedFile::Linked, "size-budget"),
        (MutatedFile::Linked, "size-growth"),
        (MutatedFile::Packed, "no-interpreter"),
        (MutatedFile::Packed, "no-needed"),
        (MutatedFile::Packed, "inner-machine"),
        (MutatedFile::Linked, "unique-symbols"),
        (MutatedFile::Linked, "no-ifunc"),
        (MutatedFile::Linked, "glibc-symbols"),
        (MutatedFile::Linked, "no-sanitizer-runtime"),
        (MutatedFile::Linked, "no-dlopen"),
        (MutatedFile::Linked, "tls-size"),
        (MutatedFile::Linked, "has-symbols"),
        (MutatedFile::Stripped, "no-ifunc"),
        (MutatedFile::Stripped, "tls-size"),
        (MutatedFile::Packed, "inner-segment-align"),
        (MutatedFile::Linked, "elf-header"),
        (MutatedFile::Linked, "program-headers"),
        (MutatedFile::Linked, "entry-point"),
        (MutatedFile::Linked, "section-layout"),
        (MutatedFile::Linked, "unclaimed-bytes"),
        (MutatedFile::Linked, "code-pointers"),
        (MutatedFile::Stripped, "entry-point"),
        (MutatedFile::Debug, "debug-file-layout"),
        (MutatedFile::Packed, "elf-header"),
        (MutatedFile::Packed, "program-headers"),
        (MutatedFile::Packed, "entry-point"),
        (MutatedFile::Packed, "inner-headers"),
        (MutatedFile::Linked, READER),
        (MutatedFile::Stripped, "debug-file-matches"),
        (MutatedFile::Stripped, "stripped"),
        (MutatedFile::Debug, "debug-file-matches"),
        (MutatedFile::Packed, "inner-stack-size"),
        (MutatedFile::Packed, "round-trip"),
        (MutatedFile::Packed, "upx-stub-checksum"),
    ] {
        let mutants = only(file, rule);
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
        file: MutatedFile::Linked,
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
        file: MutatedFile::Linked,
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
    let found = [nothing, no_such].map(|make| {
        let mutants = [Mutant {
            name: "void",
            file: MutatedFile::Linked,
            rule: "stack-size",
            is_optional: false,
            make,
        }];
        let problems = problems(&mutants, &originals(&config));
        assert_eq!(problems[0].code(), &MUTANT_VOID);
        problems[0].fields().found.clone().unwrap()
    });
    insta::assert_snapshot!(found.join("\n"), @"
    the mutant cannot be made: the bytes are those of the original
    the mutant cannot be made: no symbol `not_there`
    ");
}

#[test]
fn makes_an_optional_mutant_only_for_an_enabled_rule() {
    let mut config = config();
    let mutants =
        || [only(MutatedFile::Linked, "allocator"), only(MutatedFile::Linked, "has-symbols")].concat();
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
    let matrix = run_all(&only(MutatedFile::Linked, "machine"), &originals(&config)).unwrap();
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
