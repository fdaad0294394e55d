//! Any bytes as machine code. The first byte selects the machine, and whether the rest is a whole ELF file or the code of one
//! that the target makes.
#![no_main]

use disasm::{Baseline, CodeFacts, beyond_baseline, vector_loops, widest_registers};
use libfuzzer_sys::fuzz_target;

const X86_64: u16 = 62;
const AARCH64: u16 = 183;
/// The second baseline of each pair contains the first one.
const BASELINES: [[&str; 2]; 3] =
    [["x86-64-v1", "x86-64-v4"], ["armv8-a", "armv8.1-a"], ["x86-64-v2", "x86-64-v3"]];

fuzz_target!(|input: &[u8]| {
    let [choice, rest @ ..] = input else { return };
    let made;
    let bytes = if choice & 4 == 4 {
        rest
    } else {
        made = elf_with_code(if choice & 1 == 0 { X86_64 } else { AARCH64 }, rest);
        &made
    };
    let _ = widest_registers(rest);
    if let Ok(functions) = vector_loops(bytes, |_| true) {
        let loops = functions.iter().flat_map(|function| &function.loops);
        let instructions: usize = loops.flat_map(|found| &found.instructions).map(|(.., count)| count).sum();
        assert!(instructions <= bytes.len(), "an instruction is in two loops");
    }
    for baselines in BASELINES {
        let [small, large] = baselines.map(|name| {
            let baseline = Baseline::parse([name]).expect("a level");
            beyond_baseline(bytes, &baseline)
        });
        assert_eq!(small.is_ok(), large.is_ok());
        let (Ok(small), Ok(large)) = (small, large) else { continue };
        check(bytes, &small);
        check(bytes, &large);
        assert_eq!(small.undecodable, large.undecodable);
        for function in &large.functions {
            let is_known = small.functions.iter().any(|known| known.names == function.names);
            assert!(is_known, "{baselines:?}: only beyond the larger one: {function:?}");
        }
    }
});

fn check(bytes: &[u8], code: &CodeFacts) {
    assert!(code.code_bytes <= bytes.len() as u64);
    for function in &code.functions {
        assert!(!function.features.is_empty() && !function.mnemonic.is_empty() && function.count > 0);
    }
    for function in &code.undecodable {
        assert!(function.features.is_empty() && function.mnemonic.is_empty() && function.count > 0);
    }
}

/// An object with one executable section at address 0, and no symbols.
fn elf_with_code(machine: u16, code: &[u8]) -> Vec<u8> {
    const HEADER_BYTES: usize = 64;
    const NAMES: &[u8] = b"\0.text\0.shstrtab\0";
    let section = |name: u32, kind: u32, flags: u64, offset: usize, size: usize| {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend(name.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        for value in [flags, 0, offset as u64, size as u64, 0, 1, 0] {
            bytes.extend(value.to_le_bytes());
        }
        bytes
    };
    let names_at = HEADER_BYTES + code.len();
    let sections_at = names_at + NAMES.len();
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    for value in [1, machine] {
        out.extend(value.to_le_bytes());
    }
    out.extend(1_u32.to_le_bytes());
    for value in [0, 0, sections_at as u64] {
        out.extend(value.to_le_bytes());
    }
    out.extend(0_u32.to_le_bytes());
    for value in [64_u16, 56, 0, 64, 3, 2] {
        out.extend(value.to_le_bytes());
    }
    out.extend(code);
    out.extend(NAMES);
    out.extend([0; 64]);
    // PROGBITS, ALLOC + EXECINSTR; STRTAB
    out.extend(section(1, 1, 6, HEADER_BYTES, code.len()));
    out.extend(section(7, 3, 0, names_at, NAMES.len()));
    out
}
