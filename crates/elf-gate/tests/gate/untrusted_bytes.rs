//! Truncated, edited and random bytes: no panic, no long run, no accidental pass. The tests are deterministic, so that failures
//! are reproducible.

use elf_gate::upx::unpack;
use elf_gate::{Evidence, Policy, RuleOutcome, Stage, Verdict, inspect, judge};

use crate::fixtures::{MIB, fixture, sha256};

const FIXTURES: [&str; 17] = [
    "linked",
    "stripped",
    "stripped.debug",
    "dynamic",
    "static-pie",
    "object.o",
    "linked-32",
    "big-endian",
    "packed-nrv2b",
    "packed-nrv2e",
    "packed-lzma",
    "packed-arm64",
    "rules/hardened",
    "rules/careless",
    "rules/libtextrel.so",
    "rules/auditable.o",
    "rules/arm64-protected.o",
];

/// Runs all readers and rules. Returns whether all rules of the stage pass.
fn passes_all_rules(bytes: &[u8], stage: Stage) -> bool {
    let Ok(facts) = inspect(bytes) else { return false };
    if let Some(upx) = &facts.upx {
        let _ = unpack(bytes, upx, MIB);
    }
    let outcomes = judge(&facts, stage, &Policy::static_musl(stage, 8 * MIB), &Evidence::default());
    // Without a parent this rule cannot tell.
    let holds = |outcome: &RuleOutcome| outcome.verdict == Verdict::Pass || outcome.rule == "round-trip";
    outcomes.iter().all(holds)
}

#[test]
fn no_truncated_file_passes() {
    for name in ["stripped", "packed-nrv2b", "packed-lzma", "linked-32"] {
        let bytes = fixture(name);
        let stage = if name.starts_with("packed") { Stage::Packed } else { Stage::Stripped };
        for length in 0..bytes.len() {
            assert!(!passes_all_rules(&bytes[..length], stage), "{name} cut to {length} bytes passes");
        }
    }
}

#[test]
fn random_edits_do_not_panic() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for name in FIXTURES {
        let original = fixture(name);
        for _ in 0..1500 {
            let mut bytes = original.clone();
            for _ in 0..=random.below(4) {
                // Half of the edits hit the headers.
                let reach = if random.below(2) == 0 { 512 } else { bytes.len() };
                let at = random.below(reach.min(bytes.len()));
                bytes[at] = [0, 0xff, 0x7f, 0x80, random.below(256) as u8][random.below(5)];
            }
            passes_all_rules(&bytes, Stage::Packed);
        }
    }
}

/// Every changed byte of a packed file is detected, except in fields that neither the kernel nor the stub uses.
#[test]
fn no_packed_file_with_a_changed_byte_passes() {
    let unused = [(253..256, "p_info block size: any that is large enough")];
    let (original, parent) = (fixture("packed-nrv2b"), fixture("stripped"));
    let policy = Policy::static_musl(Stage::Packed, 8 * MIB);
    let passes = |bytes: &[u8]| {
        let Ok(facts) = inspect(bytes) else { return false };
        let Some(Ok(unpacked)) = facts.upx.as_ref().map(|upx| unpack(bytes, upx, MIB)) else { return false };
        let (unpacked, parent) = (sha256(&unpacked), sha256(&parent));
        let evidence = Evidence {
            parent_sha256: Some(&parent),
            unpacked_sha256: Some(Ok(&unpacked)),
            ..Evidence::default()
        };
        let outcomes = judge(&facts, Stage::Packed, &policy, &evidence);
        outcomes.iter().all(|outcome| outcome.verdict == Verdict::Pass)
    };
    assert!(passes(&original));
    let mut undetected = Vec::new();
    for at in 0..original.len() {
        let mut bytes = original.clone();
        bytes[at] ^= 0x55;
        if passes(&bytes) && !unused.iter().any(|(range, _)| range.contains(&at)) {
            undetected.push(at);
        }
    }
    assert_eq!(undetected, [0; 0], "{} changed bytes are not detected", undetected.len());
}

#[test]
fn rejects_huge_declared_sizes_and_counts() {
    let original = fixture("packed-nrv2b");
    for offset in [244 + 4, 256, 256 + 4] {
        let mut bytes = original.clone();
        bytes[offset..offset + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(!passes_all_rules(&bytes, Stage::Packed));
    }
    // Counts in the ELF header, and the escape values that refer to other fields.
    for offset in [56, 60, 62] {
        for value in [0xfffe_u16, 0xffff, 0xff00, 0] {
            let mut bytes = fixture("stripped");
            bytes[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
            passes_all_rules(&bytes, Stage::Stripped);
        }
    }
}

/// xorshift64*: deterministic on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// Section headers declare the code of a debug file empty; a program runs without section headers.
/// Half of them PT_LOAD, half PT_NOTE: a comparison of all pairs takes 10^9 steps.
#[test]
fn rejects_more_program_headers_than_linux_accepts_in_bounded_time() {
    const COUNT: u16 = 0xfffe;
    let mut bytes = fixture("stripped");
    let table = bytes.len();
    for index in 0..COUNT {
        let mut header = [0; 56];
        header[0] = if index % 2 == 0 { 1 } else { 4 };
        // p_flags, p_vaddr and p_memsz; a note outside of all segments.
        header[4] = 4;
        header[16..24].copy_from_slice(&(u64::from(index % 2) << 40 | 1).to_le_bytes());
        header[40] = 1;
        bytes.extend(header);
    }
    bytes[32..40].copy_from_slice(&(table as u64).to_le_bytes());
    bytes[56..58].copy_from_slice(&COUNT.to_le_bytes());
    let facts = inspect(&bytes).unwrap();
    let policy = Policy::static_musl(Stage::Stripped, 8 * MIB);
    let outcomes = judge(&facts, Stage::Stripped, &policy, &Evidence::default());
    let outcome = outcomes.iter().find(|outcome| outcome.rule == "program-headers").unwrap();
    assert_eq!(outcome.verdict, Verdict::Violation);
    insta::assert_snapshot!(outcome.found, @"e_phnum: expected at most 1170, found 65534");
}

#[test]
fn rejects_programs_with_section_headers_of_a_debug_file() {
    const SHF_EXECINSTR: u64 = 4;
    const SHT_NOBITS: u32 = 8;
    for name in ["linked", "dynamic", "static-pie"] {
        let mut bytes = fixture(name);
        let at = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let headers = at(&bytes, 40) as usize;
        let count = usize::from(u16::from_le_bytes(bytes[60..62].try_into().unwrap()));
        for header in (0..count).map(|index| headers + 64 * index) {
            if at(&bytes, header + 8) & SHF_EXECINSTR != 0 {
                bytes[header + 4..header + 8].copy_from_slice(&SHT_NOBITS.to_le_bytes());
            }
        }
        for stage in Stage::ALL {
            assert!(!passes_all_rules(&bytes, stage), "{name} passes at {stage}");
        }
    }
    assert!(passes_all_rules(&fixture("stripped.debug"), Stage::Debug));
}
