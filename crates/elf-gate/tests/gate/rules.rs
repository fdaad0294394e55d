//! Rules on unpacked files, with edits of single fields.

use elf_gate::facts::PT_GNU_STACK;
use elf_gate::{Evidence, Policy, Stage, Verdict, judge};

use crate::fixtures::{MIB, ProgramHeader, edited, facts, fixture};

/// What a rule with this verdict has found.
#[track_caller]
fn check(bytes: &[u8], stage: Stage, policy: &Policy, rule: &str, expected: Verdict) -> String {
    let outcomes = judge(&facts(bytes), stage, policy, &Evidence::default());
    let outcome = outcomes.iter().find(|outcome| outcome.rule == rule).expect("the policy enables the rule");
    assert_eq!(outcome.verdict, expected, "{outcome:?}");
    assert_eq!(outcome.hint.is_empty(), expected == Verdict::Pass, "{outcome:?}");
    format!("{rule}: {expected:?}: {}\n", outcome.found)
}

fn musl(stage: Stage) -> Policy {
    Policy::static_musl(stage, 8 * MIB)
}

#[test]
fn stack_size_must_equal_the_policy() {
    let mut shown = String::new();
    let check = |bytes: &[u8], expected| {
        check(bytes, Stage::Stripped, &musl(Stage::Stripped), "stack-size", expected)
    };
    shown += &check(&fixture("stripped"), Verdict::Pass);
    shown += &check(&fixture("linked-32"), Verdict::Pass);
    shown += &check(&fixture("big-endian"), Verdict::Pass);
    shown += &check(&fixture("no-stack-size"), Verdict::Violation);
    let set = |size| edited("stripped", |bytes| ProgramHeader::stack(bytes).set_memory_size(bytes, size));
    shown += &check(&set(8 * MIB - 1), Verdict::Violation);
    shown += &check(&set(16 * MIB), Verdict::Violation);
    let missing = edited("stripped", |bytes| ProgramHeader::stack(bytes).set_kind(bytes, 0));
    shown += &check(&missing, Verdict::Violation);
    let doubled = edited("stripped", |bytes| {
        ProgramHeader::of(bytes, elf_gate::facts::PT_NOTE).set_kind(bytes, PT_GNU_STACK);
    });
    shown += &check(&doubled, Verdict::Violation);
    insta::assert_snapshot!(shown, @"
    stack-size: Pass: one of 8388608 bytes (8 MiB)
    stack-size: Pass: one of 8388608 bytes (8 MiB)
    stack-size: Pass: one of 8388608 bytes (8 MiB)
    stack-size: Violation: one of 0 bytes
    stack-size: Violation: one of 8388607 bytes
    stack-size: Violation: one of 16777216 bytes (16 MiB)
    stack-size: Violation: no PT_GNU_STACK
    stack-size: Violation: 2 PT_GNU_STACK
    ");
}

#[test]
fn stack_must_not_be_executable() {
    let mut shown = String::new();
    let check = |bytes: &[u8], expected| {
        check(bytes, Stage::Linked, &Policy::default(), "stack-not-executable", expected)
    };
    shown += &check(&fixture("linked"), Verdict::Pass);
    shown += &check(&fixture("exec-stack"), Verdict::Violation);
    let missing = edited("linked", |bytes| ProgramHeader::stack(bytes).set_kind(bytes, 0));
    shown += &check(&missing, Verdict::Violation);
    insta::assert_snapshot!(shown, @"
    stack-not-executable: Pass: rw-
    stack-not-executable: Violation: rwx
    stack-not-executable: Violation: no PT_GNU_STACK
    ");
}

#[test]
fn segments_must_not_be_writable_and_executable() {
    let mut shown = String::new();
    let check = |bytes: &[u8], expected| {
        check(bytes, Stage::Linked, &Policy::default(), "no-writable-executable-segment", expected)
    };
    shown += &check(&fixture("linked"), Verdict::Pass);
    shown += &check(&fixture("omagic"), Verdict::Violation);
    let flipped = edited("linked", |bytes| ProgramHeader::load(bytes).set_flags(bytes, 7));
    shown += &check(&flipped, Verdict::Violation);
    insta::assert_snapshot!(shown, @"
    no-writable-executable-segment: Pass: none
    no-writable-executable-segment: Violation: segment 0 (rwx)
    no-writable-executable-segment: Violation: segment 0 (rwx)
    ");
}

#[test]
fn static_programs_have_no_interpreter_and_no_libraries() {
    let mut shown = String::new();
    let stage = Stage::Stripped;
    for name in ["stripped", "static-pie", "arm64"] {
        shown += &check(&fixture(name), stage, &musl(stage), "no-interpreter", Verdict::Pass);
        shown += &check(&fixture(name), stage, &musl(stage), "no-needed", Verdict::Pass);
    }
    let dynamic = fixture("dynamic");
    shown += &check(&dynamic, stage, &musl(stage), "no-interpreter", Verdict::Violation);
    shown += &check(&dynamic, stage, &musl(stage), "no-needed", Verdict::Violation);
    insta::assert_snapshot!(shown, @"
    no-interpreter: Pass: none
    no-needed: Pass: none
    no-interpreter: Pass: none
    no-needed: Pass: none
    no-interpreter: Pass: none
    no-needed: Pass: none
    no-interpreter: Violation: `/lib/ld-musl-x86_64.so.1`
    no-needed: Violation: libneeded.so
    ");
}

#[test]
fn machine_must_be_allowed() {
    let mut shown = String::new();
    let policy = |machine: &str| Policy { machines: vec![machine.into()], ..Policy::default() };
    let check =
        |name, machine, expected| check(&fixture(name), Stage::Linked, &policy(machine), "machine", expected);
    shown += &check("linked", "x86_64", Verdict::Pass);
    shown += &check("linked", "aarch64", Verdict::Violation);
    shown += &check("arm64", "aarch64", Verdict::Pass);
    shown += &check("linked-32", "x86_64", Verdict::Violation);
    insta::assert_snapshot!(shown, @"
    machine: Pass: x86_64
    machine: Violation: x86_64
    machine: Pass: aarch64
    machine: Violation: i386
    ");
}

#[test]
fn required_and_forbidden_symbols_need_a_symbol_table() {
    let mut shown = String::new();
    let required = |patterns: &[&str], name, expected| {
        let required_symbols = patterns.iter().map(|pattern| pattern.to_string()).collect();
        let policy = Policy { required_symbols, ..Policy::default() };
        check(&fixture(name), Stage::Linked, &policy, "required-symbols", expected)
    };
    shown += &required(&["required_function", "_sta*"], "linked", Verdict::Pass);
    shown += &required(&["required_function", "sgemm_*"], "linked", Verdict::Violation);
    // The name of the source file is in the table, but is not a symbol.
    shown += &required(&["start.c"], "linked", Verdict::Violation);
    shown += &required(&["required_function"], "stripped", Verdict::CannotTell);

    let forbidden = |patterns: &[&str], name, expected| {
        let forbidden_symbols = patterns.iter().map(|pattern| pattern.to_string()).collect();
        let policy = Policy { forbidden_symbols, ..Policy::default() };
        check(&fixture(name), Stage::Linked, &policy, "forbidden-symbols", expected)
    };
    shown += &forbidden(&["dlopen", "mi_*"], "linked", Verdict::Pass);
    shown += &forbidden(&["dlopen", "required_*"], "linked", Verdict::Violation);
    shown += &forbidden(&["dlopen"], "stripped", Verdict::CannotTell);
    insta::assert_snapshot!(shown, @"
    required-symbols: Pass: all defined
    required-symbols: Violation: missing: sgemm_*
    required-symbols: Violation: missing: start.c
    required-symbols: CannotTell: no .symtab
    forbidden-symbols: Pass: all absent
    forbidden-symbols: Violation: present: required_function
    forbidden-symbols: CannotTell: no .symtab
    ");
}

#[test]
fn build_id_comes_from_the_note() {
    let mut shown = String::new();
    let policy = Policy { needs_build_id: true, ..Policy::default() };
    shown += &check(&fixture("stripped"), Stage::Stripped, &policy, "build-id", Verdict::Pass);
    shown += &check(&fixture("linked-32"), Stage::Stripped, &policy, "build-id", Verdict::Pass);
    // The note is the only source of the build-id.
    let lost = edited("stripped", |bytes| {
        let note = bytes.windows(4).position(|window| window == b"GNU\0").unwrap();
        bytes[note] = b'X';
    });
    shown += &check(&lost, Stage::Stripped, &policy, "build-id", Verdict::Violation);
    insta::assert_snapshot!(shown, @"
    build-id: Pass: a2bdba90c5e02113e20bfac29ef4ca7a80cbbaec
    build-id: Pass: f4b378be6aa9183af18d1b8c68d7e62ac92baed1
    build-id: Violation: none
    ");
}

#[test]
fn not_packed_detects_upx_with_and_without_magic_numbers() {
    let mut shown = String::new();
    let check =
        |bytes: &[u8], expected| check(bytes, Stage::Stripped, &Policy::default(), "not-packed", expected);
    shown += &check(&fixture("stripped"), Verdict::Pass);
    shown += &check(&fixture("packed-nrv2b"), Verdict::Violation);
    // The stub does not read the magic numbers.
    let disguised = edited("packed-nrv2b", |bytes| {
        while let Some(at) = bytes.windows(4).position(|window| window == b"UPX!") {
            bytes[at..at + 4].copy_from_slice(b"muh!");
        }
        bytes.resize(8192, 0);
    });
    shown += &check(&disguised, Verdict::CannotTell);
    insta::assert_snapshot!(shown, @"
    not-packed: Pass: none
    not-packed: Violation: packed by UPX
    not-packed: CannotTell: no section headers
    ");
}

#[test]
fn stripped_files_have_neither_symbols_nor_debug_sections() {
    let mut shown = String::new();
    let policy = musl(Stage::Stripped);
    shown += &check(&fixture("stripped"), Stage::Stripped, &policy, "stripped", Verdict::Pass);
    shown += &check(&fixture("linked"), Stage::Stripped, &policy, "stripped", Verdict::Violation);
    // Symbols without debug information: the output of `strip --strip-debug`.
    shown += &check(&fixture("object.o"), Stage::Stripped, &policy, "stripped", Verdict::Violation);
    insta::assert_snapshot!(shown, @"
    stripped: Pass: none
    stripped: Violation: .debug_aranges, .debug_info, .debug_abbrev, .debug_line, .debug_frame, .debug_str, .debug_line_str, .debug_loclists and 2 more
    stripped: Violation: .symtab
    ");
}

#[test]
fn debug_file_must_have_the_build_id_name_and_checksum() {
    let mut shown = String::new();
    let policy = Policy { needs_debug_file: true, ..Policy::default() };
    let check = |stripped: &[u8], debug: Option<(&[u8], &str)>, expected| {
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
        format!("debug-file-matches: {expected:?}: {}\n", outcome.found)
    };
    let (stripped, debug) = (fixture("stripped"), fixture("stripped.debug"));
    shown += &check(&stripped, Some((&debug, "stripped.debug")), Verdict::Pass);
    shown += &check(&stripped, None, Verdict::CannotTell);
    shown += &check(&stripped, Some((&debug, "other.debug")), Verdict::Violation);
    shown += &check(&stripped, Some((&fixture("linked-32"), "stripped.debug")), Verdict::Violation);
    shown += &check(&fixture("static-pie"), Some((&debug, "stripped.debug")), Verdict::Violation);
    let mut touched = debug.clone();
    let comment = touched.windows(4).position(|window| window == b"GCC:").unwrap();
    touched[comment] = b'X';
    shown += &check(&stripped, Some((&touched, "stripped.debug")), Verdict::Violation);
    assert!(facts(&debug).is_debug_only && !facts(&stripped).is_debug_only);
    insta::assert_snapshot!(shown, @"
    debug-file-matches: Pass: `stripped.debug`, CRC-32 5685fd98
    debug-file-matches: CannotTell: no debug file
    debug-file-matches: Violation: the debug file is `other.debug`, .gnu_debuglink names `stripped.debug`
    debug-file-matches: Violation: build-id a2bdba90c5e02113e20bfac29ef4ca7a80cbbaec here, f4b378be6aa9183af18d1b8c68d7e62ac92baed1 in the debug file; a debug file without .debug_* sections; CRC-32 5685fd98 in .gnu_debuglink, 2ab0cae4 of the debug file
    debug-file-matches: Violation: build-id dc0a292094899c32ff614af224850692678e3bef here, a2bdba90c5e02113e20bfac29ef4ca7a80cbbaec in the debug file; no .gnu_debuglink
    debug-file-matches: Violation: CRC-32 5685fd98 in .gnu_debuglink, 11ebc74e of the debug file
    ");
}
