//! The size of a file by section, crate and symbol.

use elf_gate::policy::Policy;
use elf_gate::size::{SizeBreakdown, largest_growth};
use elf_gate::{Evidence, Stage, Verdict, inspect, judge};
use units::ByteSize;

use crate::fixtures::{edited, fixture};

fn parts(bytes: &[u8], debug: Option<&[u8]>) -> SizeBreakdown {
    let parts = SizeBreakdown::of(bytes, debug, true).unwrap();
    let size = bytes.len() as u64;
    assert_eq!(parts.sections.values().sum::<u64>(), size, "sections");
    assert!(parts.crates.is_empty() || parts.crates.values().sum::<u64>() == size, "crates");
    assert!(parts.symbols.iter().map(|symbol| symbol.size_bytes).sum::<u64>() <= size, "symbols");
    parts
}

#[test]
fn the_parts_of_every_fixture_add_up_to_its_size() {
    for name in
        ["linked", "stripped", "stripped.debug", "static-pie", "dynamic", "omagic", "object.o", "arm64"]
    {
        parts(&fixture(name), None);
    }
    for name in ["linked-32", "big-endian", "packed-nrv2b", "packed-arm64"] {
        parts(&fixture(name), None);
    }
}

#[test]
fn attributes_a_stripped_file_by_the_symbols_of_its_debug_file() {
    let (stripped, debug) = (fixture("stripped"), fixture("stripped.debug"));
    assert!(!parts(&stripped, None).has_symbols());
    let with_debug = parts(&stripped, Some(&debug));
    let linked = parts(&fixture("linked"), None);
    let start = |parts: &SizeBreakdown| {
        parts.symbols.iter().find(|symbol| symbol.name == "_start").map(|symbol| symbol.size_bytes)
    };
    assert!(start(&linked).is_some());
    assert_eq!(start(&with_debug), start(&linked));
}

#[test]
fn counts_no_byte_twice_in_hostile_files() {
    let good = fixture("linked");
    // Every byte of the header tables and of the symbol table once set to all ones: sizes beyond the file, overlaps, loops.
    let tables = (0..64).chain(good.len() - 3000..good.len());
    for at in tables {
        for value in [0xff, 0x00, 0x7f] {
            let mut bytes = good.clone();
            bytes[at] = value;
            if let Ok(parts) = SizeBreakdown::of(&bytes, Some(&good), true) {
                assert_eq!(parts.sections.values().sum::<u64>(), bytes.len() as u64, "byte {at}");
            }
            if SizeBreakdown::of(&bytes, None, true).is_ok() {
                parts(&bytes, None);
            }
        }
    }
    assert!(SizeBreakdown::of(b"text", None, true).is_err());
    let truncated = edited("linked", |bytes| bytes.truncate(100));
    let _ = SizeBreakdown::of(&truncated, None, true);
}

#[test]
fn a_size_growth_violation_names_what_grew_most() {
    let new = fixture("linked");
    let mut old = parts(&new, None);
    *old.sections.get_mut(".text").unwrap() = 1;
    let facts = inspect(&new).unwrap();
    let policy = Policy { growth_percent_max: Some(10), ..Policy::default() };
    let found = |evidence: &Evidence, policy: &Policy| {
        let outcomes = judge(&facts, Stage::Linked, policy, evidence);
        outcomes.into_iter().find(|outcome| outcome.rule == "size-growth").unwrap()
    };
    let evidence = Evidence { baseline_size_bytes: Some(9000), ..Evidence::default() };
    let without = found(&evidence, &policy);
    assert_eq!(without.verdict, Verdict::Violation);
    insta::assert_snapshot!(without.found, @"17208 bytes (+8208)");
    let evidence = Evidence { baseline_breakdown: Some(&old), own_bytes: Some(&new), ..evidence };
    let now = parts(&new, None);
    let (name, grown) = largest_growth(&old.sections, &now.sections).unwrap();
    assert_eq!(name, ".text");
    let text_bytes = now.sections[".text"];
    assert_eq!(grown, text_bytes - 1);
    insta::assert_snapshot!(found(&evidence, &policy).found, @"17208 bytes (+8208); largest growth: section .text +89 bytes");
    // The policy may hold the size of the baseline; evidence replaces it.
    let policy = Policy { baseline_size: Some(ByteSize(9000)), ..policy };
    assert_eq!(found(&Evidence::default(), &policy).verdict, Verdict::Violation);
    let evidence = Evidence { baseline_size_bytes: Some(facts.size_bytes), ..Evidence::default() };
    assert_eq!(found(&evidence, &policy).verdict, Verdict::Pass);
}
