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

/// The error and its hint.
#[track_caller]
fn rejects(bytes: &[u8]) -> String {
    let error = inspect(bytes).expect_err("no facts");
    assert!(!error.hint().is_empty());
    format!("{error}\nhint: {}\n", error.hint())
}

#[test]
fn rejects_files_that_are_not_elf() {
    let files: [&[u8]; 5] =
        [b"", b"#!/bin/sh\nexit 0\n", b"!<arch>\nabc", &[0x1f, 0x8b, 8, 0, 0, 0], b"\x7fELF"];
    insta::assert_snapshot!(files.map(rejects).concat(), @"
    not an ELF file: expected `7f 45 4c 46` at offset 0, found an empty file
    hint: give the executable itself; `file FILE` shows the format of a file
    not an ELF file: expected `7f 45 4c 46` at offset 0, found `23 21 2f 62` (text)
    hint: give the executable itself; `file FILE` shows the format of a file
    not an ELF file: expected `7f 45 4c 46` at offset 0, found `21 3c 61 72` (an ar archive)
    hint: give the executable itself; `file FILE` shows the format of a file
    not an ELF file: expected `7f 45 4c 46` at offset 0, found `1f 8b 08 00` (gzip data)
    hint: give the executable itself; `file FILE` shows the format of a file
    truncated ELF file: the ELF header needs 64 bytes, the file has 4
    hint: build or download the file again and compare its digest with SHA256SUMS
    ");
}

#[test]
fn rejects_truncated_files() {
    let stripped = fixture("stripped");
    let mut errors = rejects(&stripped[..stripped.len() / 2]);
    // Without section headers, the segments show the truncation.
    let cut = edited("stripped", |bytes| {
        bytes[40..48].fill(0);
        bytes[58..64].fill(0);
        bytes.truncate(0x2000);
    });
    errors += &rejects(&cut);
    insta::assert_snapshot!(errors, @"
    malformed ELF file: goblin reports `bad offset 14328`, object reports `Invalid ELF section header offset/size/alignment`
    hint: build the file again; `readelf -hlS FILE` shows the damaged header
    truncated ELF file: segment 2 (PT_LOAD) needs 14192 bytes, the file has 8192
    hint: build or download the file again and compare its digest with SHA256SUMS
    ");
}

/// The libraries differ in what they accept. A file that one of them rejects is rejected with both results.
#[test]
fn errors_contain_the_results_of_both_readers() {
    let odd_entry_size = edited("stripped", |bytes| bytes[54] = 57);
    let Err(FactsError::Malformed { goblin, object }) = inspect(&odd_entry_size) else { panic!("malformed") };
    insta::assert_snapshot!(format!("goblin: {goblin}\nobject: {object}"), @"
    goblin: program header entries of 57 bytes
    object: Invalid ELF program header entry size
    ");
    let error = FactsError::Disagreement { what: "build-id", goblin: "a".into(), object: "b".into() };
    assert_eq!(error.to_string(), "the two readers disagree on the build-id: goblin reads a, object reads b");
}
