//! Facts of real files, and files that yield none.

use elf_gate::facts::Kind;
use elf_gate::{FactsError, inspect};

use crate::bytes::{edited, facts, fixture};

#[test]
fn class_byte_order_and_kind() {
    let check = |name: &str, bits: u8, is_little_endian: bool, kind: Kind, machine: &str| {
        let header = facts(&fixture(name)).header;
        let found = (header.class_bits, header.is_little_endian, header.kind, header.machine.as_str());
        assert_eq!(found, (bits, is_little_endian, kind, machine), "{name}");
    };
    check("linked", 64, true, Kind::Executable, "x86_64");
    check("static-pie", 64, true, Kind::Dynamic, "x86_64");
    check("linked-32", 32, true, Kind::Executable, "i386");
    check("big-endian", 64, false, Kind::Executable, "powerpc64");
    check("arm64", 64, true, Kind::Executable, "aarch64");
    check("object.o", 64, true, Kind::Relocatable, "x86_64");
}

#[test]
fn symbols_and_dynamic_section() {
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
fn refused(bytes: &[u8], expected: &str) {
    let error = inspect(bytes).expect_err("no facts");
    assert!(error.to_string().contains(expected), "`{expected}` in `{error}`");
    assert!(!error.hint().is_empty());
}

#[test]
fn what_is_not_elf() {
    refused(b"", "an empty file");
    refused(b"#!/bin/sh\nexit 0\n", "(text)");
    refused(b"!<arch>\nabc", "(an ar archive)");
    refused(&[0x1f, 0x8b, 8, 0, 0, 0], "(gzip data)");
    refused(b"\x7fELF", "truncated ELF file: the ELF header needs 64 bytes, the file has 4");
}

#[test]
fn truncated() {
    let stripped = fixture("stripped");
    refused(&stripped[..stripped.len() / 2], "ELF file");
    // Without section headers only the segments tell.
    let cut = edited("stripped", |bytes| {
        bytes[40..48].fill(0);
        bytes[58..64].fill(0);
        bytes.truncate(0x2000);
    });
    refused(&cut, "segment 2 (PT_LOAD) needs");
}

/// The two libraries differ on what they take; whatever one of them cannot read is refused with both answers.
#[test]
fn both_readings_are_named() {
    let odd_entry_size = edited("stripped", |bytes| bytes[54] = 57);
    let Err(FactsError::Malformed { goblin, object }) = inspect(&odd_entry_size) else { panic!("malformed") };
    assert!(goblin.contains("57") && !object.is_empty(), "{goblin} / {object}");
    let error = FactsError::Disagreement { what: "build-id", goblin: "a".into(), object: "b".into() };
    assert_eq!(error.to_string(), "two readers disagree on the build-id: goblin reads a, object reads b");
}
