//! Rules that decode instructions.

use elf_gate::{Evidence, Facts};

use super::{CANNOT_TELL, LINKED, OBJECT, PASS, Table, VIOLATION};
use crate::fixtures::{edited, facts, fixture};

/// The rule decodes the bytes, which are evidence.
pub(super) fn check_isa_baseline(table: &mut Table) {
    let rule = "isa-baseline";
    let v1 = r#"isa_baseline = ["x86-64-v1"]"#;
    let mut check = |stage, policy: &str, bytes: &[u8], verdict| {
        let evidence = Evidence { own_bytes: Some(bytes), ..Evidence::default() };
        table.check_with(rule, stage, policy, bytes, &evidence, verdict);
    };
    let vaddps_ymm = with_code_at_entry(&[0xc5, 0xfc, 0x58, 0xc0]);
    check(LINKED, v1, &fixture("linked"), PASS);
    check(OBJECT, v1, &fixture("object.o"), PASS);
    check(LINKED, v1, &vaddps_ymm, VIOLATION);
    check(LINKED, r#"isa_baseline = ["x86-64-v3"]"#, &vaddps_ymm, PASS);
    check(LINKED, r#"isa_baseline = ["avx"]"#, &vaddps_ymm, PASS);
    check(LINKED, &format!("{v1}\nisa_dispatched = [\"_st*\"]"), &vaddps_ymm, PASS);
    let dispatched = |patterns: &str| format!("{v1}\nisa_dispatched = [{patterns}]");
    check(LINKED, &dispatched("'_st*', 'old_*'"), &vaddps_ymm, VIOLATION);
    check(LINKED, &dispatched("'_start'"), &fixture("linked"), VIOLATION);
    // A pattern for a function whose bytes are not decoded is in use; an object has only some of the functions.
    check(LINKED, &dispatched("'_start'"), &with_code_at_entry(&[0x06; 4]), PASS);
    check(OBJECT, &dispatched("'old_*'"), &fixture("object.o"), PASS);
    // An instruction that this decoder does not support: an extension of tomorrow, or data.
    check(LINKED, v1, &with_code_at_entry(&[0x06; 4]), CANNOT_TELL);
    check(LINKED, v1, &fixture("stripped"), CANNOT_TELL);
    check(LINKED, v1, &fixture("arm64"), CANNOT_TELL);
    table.check(rule, LINKED, v1, &fixture("linked"), CANNOT_TELL);
}

/// The code at the entry becomes a loop of one multiply-add, with and without a spill.
pub(super) fn check_vector_loops(table: &mut Table) {
    const FMA: [u8; 6] = [0x62, 0xf2, 0x75, 0x48, 0xb8, 0xc2]; // vfmadd231ps zmm0, zmm1, zmm2
    const SPILL: [u8; 8] = [0x62, 0xf1, 0x7c, 0x48, 0x29, 0x44, 0x24, 0x01]; // vmovaps [rsp+64], zmm0
    let rule = "vector-loops";
    let zmm = r#"vector_loops = { "_st*" = "vfmadd231ps zmm" }"#;
    let with_loop = |body: &[u8]| {
        let jump = [0x75, (-(body.len() as i8) - 2) as u8];
        with_code_at_entry(&[body, &jump].concat())
    };
    let mut check = |policy: &str, bytes: &[u8], verdict| {
        let evidence = Evidence { own_bytes: Some(bytes), ..Evidence::default() };
        table.check_with(rule, LINKED, policy, bytes, &evidence, verdict);
    };
    let good = with_loop(&FMA);
    check(zmm, &good, PASS);
    check(zmm, &with_loop(&[&FMA[..], &SPILL].concat()), VIOLATION);
    check(zmm, &fixture("linked"), VIOLATION);
    check(r#"vector_loops = { "_st*" = "vfmadd231ps ymm" }"#, &good, VIOLATION);
    check(r#"vector_loops = { "kernel*" = "vfmadd231ps zmm" }"#, &good, VIOLATION);
    check(zmm, &fixture("arm64"), CANNOT_TELL);
    table.check(rule, LINKED, zmm, &good, CANNOT_TELL);
}

/// `linked` with other code at its entry.
fn with_code_at_entry(code: &[u8]) -> Vec<u8> {
    edited("linked", |bytes| {
        let Facts { header, segments, .. } = facts(bytes);
        let text = segments.iter().find(|segment| segment.is_executable()).unwrap();
        let at = (header.entry - text.address + text.offset) as usize;
        bytes[at..at + code.len()].copy_from_slice(code);
    })
}
