//! Facts of real files, and files without facts.

use elf_gate::facts::ElfType;
use elf_gate::{FactsError, inspect};

use crate::fixtures::{edited, facts, fixture};

#[test]
fn reads_class_byte_order_type_and_machine() {
    let check = |name: &str, bits: u8, is_little_endian: bool, kind: ElfType, machine: &str| {
        let header = facts(&fixture(name)).header;
        let found = (header.class_bits, header.is_little_endian, header.elf_type, header.machine.as_str());
        assert_eq!(found, (bits, is_little_endian, kind, machine), "{name}");
    };
    check("linked", 64, true, ElfType::Executable, "x86_64");
    check("static-pie", 64, true, ElfType::Dynamic, "x86_64");
    check("linked-32", 32, true, ElfType::Executable, "i386");
    check("big-endian", 64, false, ElfType::Executable, "powerpc64");
    check("arm64", 64, true, ElfType::Executable, "aarch64");
    check("object.o", 64, true, ElfType::Relocatable, "x86_64");
}

#[test]
fn reads_symbols_and_the_dynamic_section() {
    let linked = facts(&fixture("linked"));
    let symbols = linked.symbols.unwrap();
    let is_defined =
        |wanted: &str| symbols.iter().any(|(name, defined)| name == wanted.as_bytes() && defined);
    assert!(is_defined("_start") && is_defined("required_function") && !is_defined("start.c"));
    let dynamic = facts(&fixture("dynamic")).dynamic.unwrap();
    assert_eq!(dynamic.needed, ["libneeded.so"]);
    assert_eq!(facts(&fixture("static-pie")).dynamic.unwrap().needed, [""; 0]);
    assert!(facts(&fixture("stripped")).dynamic.is_none());
}

#[track_caller]
fn rejects(bytes: &[u8], expected: &str) {
    let error = inspect(bytes).expect_err("no facts");
    assert!(error.to_string().contains(expected), "`{expected}` in `{error}`");
    assert!(!error.hint().is_empty());
}

#[test]
fn rejects_files_that_are_not_elf() {
    rejects(b"", "an empty file");
    rejects(b"#!/bin/sh\nexit 0\n", "(text)");
    rejects(b"!<arch>\nabc", "(an ar archive)");
    rejects(&[0x1f, 0x8b, 8, 0, 0, 0], "(gzip data)");
    rejects(b"\x7fELF", "truncated ELF file: the ELF header needs 64 bytes, the file has 4");
}

#[test]
fn rejects_truncated_files() {
    let stripped = fixture("stripped");
    rejects(&stripped[..stripped.len() / 2], "ELF file");
    // Without section headers, the segments show the truncation.
    let cut = edited("stripped", |bytes| {
        bytes[40..48].fill(0);
        bytes[58..64].fill(0);
        bytes.truncate(0x2000);
    });
    rejects(&cut, "segment 2 (PT_LOAD) needs");
}

/// The libraries differ in what they accept. A file that one of them rejects is rejected with both results.
#[test]
fn errors_contain_the_results_of_both_readers() {
    let odd_entry_size = edited("stripped", |bytes| bytes[54] = 57);
    let Err(FactsError::Malformed { goblin, object }) = inspect(&odd_entry_size) else { panic!("malformed") };
    assert!(goblin.contains("57") && !object.is_empty(), "{goblin} / {object}");
    let error = FactsError::Disagreement { what: "build-id", goblin: "a".into(), object: "b".into() };
    assert_eq!(error.to_string(), "the two readers disagree on the build-id: goblin reads a, object reads b");
}
