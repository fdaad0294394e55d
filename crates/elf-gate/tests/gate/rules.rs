//! Rules on unpacked files, with edits of single fields.

use elf_gate::facts::PT_GNU_STACK;
use elf_gate::{Evidence, Policy, Stage, Verdict, judge};

use crate::fixtures::{MIB, ProgramHeader, edited, facts, fixture};

#[track_caller]
fn check(bytes: &[u8], stage: Stage, policy: &Policy, rule: &str, expected: Verdict, found: &str) {
    let outcomes = judge(&facts(bytes), stage, policy, &Evidence::default());
    let outcome = outcomes.iter().find(|outcome| outcome.rule == rule).expect("the policy enables the rule");
    assert_eq!(outcome.verdict, expected, "{outcome:?}");
    assert!(outcome.found.contains(found), "`{found}` in {outcome:?}");
    assert_eq!(outcome.hint.is_empty(), expected == Verdict::Pass, "{outcome:?}");
}

fn musl(stage: Stage) -> Policy {
    Policy::static_musl(stage, 8 * MIB)
}

#[test]
fn stack_size_must_equal_the_policy() {
    let check = |bytes: &[u8], expected, found| {
        check(bytes, Stage::Stripped, &musl(Stage::Stripped), "stack-size", expected, found);
    };
    check(&fixture("stripped"), Verdict::Pass, "8388608");
    check(&fixture("linked-32"), Verdict::Pass, "8388608");
    check(&fixture("big-endian"), Verdict::Pass, "8388608");
    check(&fixture("no-stack-size"), Verdict::Violation, "one of 0 bytes");
    let set = |size| edited("stripped", |bytes| ProgramHeader::stack(bytes).set_memory_size(bytes, size));
    check(&set(8 * MIB - 1), Verdict::Violation, "one of 8388607 bytes");
    check(&set(16 * MIB), Verdict::Violation, "16 MiB");
    let missing = edited("stripped", |bytes| ProgramHeader::stack(bytes).set_kind(bytes, 0));
    check(&missing, Verdict::Violation, "no PT_GNU_STACK");
    let doubled = edited("stripped", |bytes| {
        ProgramHeader::of(bytes, elf_gate::facts::PT_NOTE).set_kind(bytes, PT_GNU_STACK);
    });
    check(&doubled, Verdict::Violation, "2 PT_GNU_STACK");
}

#[test]
fn stack_must_not_be_executable() {
    let check = |bytes: &[u8], expected, found| {
        check(bytes, Stage::Linked, &Policy::default(), "stack-not-executable", expected, found);
    };
    check(&fixture("linked"), Verdict::Pass, "rw-");
    check(&fixture("exec-stack"), Verdict::Violation, "rwx");
    let missing = edited("linked", |bytes| ProgramHeader::stack(bytes).set_kind(bytes, 0));
    check(&missing, Verdict::Violation, "no PT_GNU_STACK");
}

#[test]
fn segments_must_not_be_writable_and_executable() {
    let check = |bytes: &[u8], expected, found| {
        check(bytes, Stage::Linked, &Policy::default(), "no-writable-executable-segment", expected, found);
    };
    check(&fixture("linked"), Verdict::Pass, "none");
    check(&fixture("omagic"), Verdict::Violation, "rwx");
    let flipped = edited("linked", |bytes| ProgramHeader::load(bytes).set_flags(bytes, 7));
    check(&flipped, Verdict::Violation, "segment 0 (rwx)");
}

#[test]
fn static_programs_have_no_interpreter_and_no_libraries() {
    let stage = Stage::Stripped;
    for name in ["stripped", "static-pie", "arm64"] {
        check(&fixture(name), stage, &musl(stage), "no-interpreter", Verdict::Pass, "none");
        check(&fixture(name), stage, &musl(stage), "no-needed", Verdict::Pass, "none");
    }
    let dynamic = fixture("dynamic");
    check(&dynamic, stage, &musl(stage), "no-interpreter", Verdict::Violation, "/lib/ld-musl-x86_64.so.1");
    check(&dynamic, stage, &musl(stage), "no-needed", Verdict::Violation, "libneeded.so");
}

#[test]
fn machine_must_be_allowed() {
    let policy = |machine: &str| Policy { machines: vec![machine.into()], ..Policy::default() };
    let check = |name, machine, expected, found| {
        check(&fixture(name), Stage::Linked, &policy(machine), "machine", expected, found);
    };
    check("linked", "x86_64", Verdict::Pass, "x86_64");
    check("linked", "aarch64", Verdict::Violation, "x86_64");
    check("arm64", "aarch64", Verdict::Pass, "aarch64");
    check("linked-32", "x86_64", Verdict::Violation, "i386");
}

#[test]
fn required_and_forbidden_symbols_need_a_symbol_table() {
    let required = |patterns: &[&str], name, expected, found| {
        let required_symbols = patterns.iter().map(|pattern| pattern.to_string()).collect();
        let policy = Policy { required_symbols, ..Policy::default() };
        check(&fixture(name), Stage::Linked, &policy, "required-symbols", expected, found);
    };
    required(&["required_function", "_sta*"], "linked", Verdict::Pass, "all defined");
    required(&["required_function", "sgemm_*"], "linked", Verdict::Violation, "missing: sgemm_*");
    // The name of the source file is in the table, but is not a symbol.
    required(&["start.c"], "linked", Verdict::Violation, "missing: start.c");
    required(&["required_function"], "stripped", Verdict::CannotTell, "no .symtab");

    let forbidden = |patterns: &[&str], name, expected, found| {
        let forbidden_symbols = patterns.iter().map(|pattern| pattern.to_string()).collect();
        let policy = Policy { forbidden_symbols, ..Policy::default() };
        check(&fixture(name), Stage::Linked, &policy, "forbidden-symbols", expected, found);
    };
    forbidden(&["dlopen", "mi_*"], "linked", Verdict::Pass, "all absent");
    forbidden(&["dlopen", "required_*"], "linked", Verdict::Violation, "present: required_function");
    forbidden(&["dlopen"], "stripped", Verdict::CannotTell, "no .symtab");
}

#[test]
fn build_id_comes_from_the_note() {
    let policy = Policy { needs_build_id: true, ..Policy::default() };
    check(&fixture("stripped"), Stage::Stripped, &policy, "build-id", Verdict::Pass, "");
    check(&fixture("linked-32"), Stage::Stripped, &policy, "build-id", Verdict::Pass, "");
    // The note is the only source of the build-id.
    let lost = edited("stripped", |bytes| {
        let note = bytes.windows(4).position(|window| window == b"GNU\0").unwrap();
        bytes[note] = b'X';
    });
    check(&lost, Stage::Stripped, &policy, "build-id", Verdict::Violation, "none");
}

#[test]
fn not_packed_detects_upx_with_and_without_magic_numbers() {
    let check = |bytes: &[u8], expected, found| {
        check(bytes, Stage::Stripped, &Policy::default(), "not-packed", expected, found);
    };
    check(&fixture("stripped"), Verdict::Pass, "none");
    check(&fixture("packed-nrv2b"), Verdict::Violation, "packed by UPX");
    // The stub does not read the magic numbers.
    let disguised = edited("packed-nrv2b", |bytes| {
        while let Some(at) = bytes.windows(4).position(|window| window == b"UPX!") {
            bytes[at..at + 4].copy_from_slice(b"muh!");
        }
        bytes.resize(8192, 0);
    });
    check(&disguised, Verdict::CannotTell, "no section headers");
}

#[test]
fn stripped_files_have_neither_symbols_nor_debug_sections() {
    let policy = musl(Stage::Stripped);
    check(&fixture("stripped"), Stage::Stripped, &policy, "stripped", Verdict::Pass, "none");
    check(&fixture("linked"), Stage::Stripped, &policy, "stripped", Verdict::Violation, ".debug_info");
    // Symbols without debug information: the output of `strip --strip-debug`.
    check(&fixture("object.o"), Stage::Stripped, &policy, "stripped", Verdict::Violation, ".symtab");
}

#[test]
fn debug_file_must_have_the_build_id_name_and_checksum() {
    let policy = Policy { needs_debug_file: true, ..Policy::default() };
    let check = |stripped: &[u8], debug: Option<(&[u8], &str)>, expected, found: &str| {
        let debug_facts = debug.map(|(bytes, _)| facts(bytes));
        let evidence = Evidence {
            debug_file: debug_facts.as_ref(),
            debug_file_bytes: debug.map(|(bytes, _)| bytes),
            debug_file_name: debug.map(|(_, name)| name),
            ..Evidence::default()
        };
        let outcomes = judge(&facts(stripped), Stage::Stripped, &policy, &evidence);
        let outcome = outcomes.iter().find(|outcome| outcome.rule == "debug-file-matches").unwrap();
        assert_eq!(outcome.verdict, expected, "{outcome:?}");
        assert!(outcome.found.contains(found), "`{found}` in {outcome:?}");
    };
    let (stripped, debug) = (fixture("stripped"), fixture("stripped.debug"));
    check(&stripped, Some((&debug, "stripped.debug")), Verdict::Pass, "stripped.debug");
    check(&stripped, None, Verdict::CannotTell, "no debug file");
    check(
        &stripped,
        Some((&debug, "other.debug")),
        Verdict::Violation,
        ".gnu_debuglink names `stripped.debug`",
    );
    check(&stripped, Some((&fixture("linked-32"), "stripped.debug")), Verdict::Violation, "build-id");
    check(&fixture("static-pie"), Some((&debug, "stripped.debug")), Verdict::Violation, "no .gnu_debuglink");
    let mut touched = debug.clone();
    let comment = touched.windows(4).position(|window| window == b"GCC:").unwrap();
    touched[comment] = b'X';
    check(&stripped, Some((&touched, "stripped.debug")), Verdict::Violation, "CRC-32");
    assert!(facts(&debug).is_debug_only && !facts(&stripped).is_debug_only);
}
