//! Bytes that nobody should send: no panic, no long run, no pass by accident. Deterministic, so that a failure can be
//! run again.

use elf_gate::upx::unpack;
use elf_gate::{Evidence, Policy, RuleOutcome, Stage, Verdict, inspect, judge};

use crate::bytes::{MIB, fixture, sha256};

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

/// Runs everything that looks at bytes. Returns whether all rules of the stage passed.
fn survive(bytes: &[u8], stage: Stage) -> bool {
    let Ok(facts) = inspect(bytes) else { return false };
    if let Some(upx) = &facts.upx {
        let _ = unpack(bytes, upx, MIB);
    }
    let outcomes = judge(&facts, stage, &Policy::static_musl(stage, 8 * MIB), &Evidence::default());
    // There is no parent here.
    let holds = |outcome: &RuleOutcome| outcome.verdict == Verdict::Pass || outcome.rule == "round-trip";
    outcomes.iter().all(holds)
}

#[test]
fn every_truncation() {
    for name in ["stripped", "packed-nrv2b", "packed-lzma", "linked-32"] {
        let bytes = fixture(name);
        let stage = if name.starts_with("packed") { Stage::Packed } else { Stage::Stripped };
        for length in 0..bytes.len() {
            assert!(!survive(&bytes[..length], stage), "{name} cut to {length} bytes passes");
        }
    }
}

#[test]
fn random_flips() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for name in FIXTURES {
        let original = fixture(name);
        for _ in 0..1500 {
            let mut bytes = original.clone();
            for _ in 0..1 + random.below(4) {
                // Headers are where the structure is: half of the flips go there.
                let reach = if random.below(2) == 0 { 512 } else { bytes.len() };
                let at = random.below(reach.min(bytes.len()));
                bytes[at] = [0, 0xff, 0x7f, 0x80, random.below(256) as u8][random.below(5)];
            }
            survive(&bytes, Stage::Packed);
        }
    }
}

/// Wherever one byte of a packed file is changed, a rule or the reader notices, except in fields of the outer headers
/// that neither the kernel nor the stub acts upon.
#[test]
fn one_flipped_byte_does_not_pass() {
    let unused = [
        (96..104, "file size of the first PT_LOAD, which UPX rounds up to a page"),
        (253..256, "p_info block size: any that is large enough"),
    ];
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
    let mut unnoticed = Vec::new();
    for at in 0..original.len() {
        let mut bytes = original.clone();
        bytes[at] ^= 0x55;
        if passes(&bytes) && !unused.iter().any(|(range, _)| range.contains(&at)) {
            unnoticed.push(at);
        }
    }
    assert_eq!(unnoticed, [0; 0], "{} bytes can be changed unnoticed", unnoticed.len());
}

#[test]
fn huge_promises() {
    let original = fixture("packed-nrv2b");
    for offset in [244 + 4, 256, 256 + 4] {
        let mut bytes = original.clone();
        bytes[offset..offset + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(!survive(&bytes, Stage::Packed));
    }
    // Counts in the ELF header, and the escape values that send the reader elsewhere.
    for offset in [56, 60, 62] {
        for value in [0xfffe_u16, 0xffff, 0xff00, 0] {
            let mut bytes = fixture("stripped");
            bytes[offset..offset + 2].copy_from_slice(&value.to_le_bytes());
            survive(&bytes, Stage::Stripped);
        }
    }
}

/// xorshift64*: good enough to pick bytes, and the same on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }
}

/// Only section headers say that a debug file has no code, and nobody needs them to run a file.
#[test]
fn a_program_in_the_disguise_of_a_debug_file_passes_nowhere() {
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
            assert!(!survive(&bytes, stage), "{name} passes at {stage}");
        }
    }
    assert!(survive(&fixture("stripped.debug"), Stage::Debug));
}
