//! Every single-bit edit of the ELF header and of the program headers of static programs. An edit that passes the preset
//! must have no effect on the start of the program; the table lists each such field with its reason.

use elf_gate::upx::unpack;
use elf_gate::{Evidence, Facts, Policy, RuleOutcome, Stage, Verdict, inspect, judge};

use crate::fixtures::{MIB, fixture, sha256};

const HEADER: &[(usize, usize, &str)] = &[
    (0, 4, "magic"),
    (4, 1, "EI_CLASS"),
    (5, 1, "EI_DATA"),
    (6, 1, "EI_VERSION"),
    (7, 1, "EI_OSABI"),
    (8, 1, "EI_ABIVERSION"),
    (9, 7, "padding"),
    (16, 2, "e_type"),
    (18, 2, "e_machine"),
    (20, 4, "e_version"),
    (24, 8, "e_entry"),
    (32, 8, "e_phoff"),
    (40, 8, "e_shoff"),
    (48, 4, "e_flags"),
    (52, 2, "e_ehsize"),
    (54, 2, "e_phentsize"),
    (56, 2, "e_phnum"),
    (58, 2, "e_shentsize"),
    (60, 2, "e_shnum"),
    (62, 2, "e_shstrndx"),
];

const SEGMENT: &[(usize, usize, &str)] = &[
    (0, 4, "p_type"),
    (4, 4, "p_flags"),
    (8, 8, "p_offset"),
    (16, 8, "p_vaddr"),
    (24, 8, "p_paddr"),
    (32, 8, "p_filesz"),
    (40, 8, "p_memsz"),
    (48, 8, "p_align"),
];

/// The field of a byte of the headers: `PT_TLS p_align`.
fn field(at: usize, facts: &Facts) -> String {
    let name = |fields: &[(usize, usize, &'static str)], at: usize| {
        fields.iter().find(|field| (field.0..field.0 + field.1).contains(&at)).unwrap().2
    };
    match at.checked_sub(64) {
        None => name(HEADER, at).into(),
        Some(at) => format!("{} {}", facts.segments[at / 56].kind, name(SEGMENT, at % 56)),
    }
}

/// The fields of the single-bit edits that pass.
fn accepted(original: &[u8], passes: impl Fn(&[u8]) -> bool) -> Vec<String> {
    let facts = inspect(original).unwrap();
    assert!(passes(original), "the original is rejected");
    let mut bytes = original.to_vec();
    let mut accepted: Vec<String> = Vec::new();
    for at in 0..64 + 56 * facts.segments.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            if passes(&bytes) {
                accepted.push(field(at, &facts));
            }
            bytes[at] ^= 1 << bit;
        }
    }
    accepted.dedup();
    accepted
}

/// Fields with an edit that passes, and why it has no effect on the start.
const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("p_paddr", "Linux and libc do not read it; the edit that passes writes 0, as some linkers do"),
    (
        "p_flags",
        "of segments that are not mapped: only the x of PT_GNU_STACK has an effect, and it is judged",
    ),
    ("p_align", "0 means no alignment; the addresses are judged by the size of a page"),
    ("p_filesz", "of PT_GNU_RELRO: the loader uses p_memsz"),
    ("p_offset", "of a PT_LOAD without bytes: the part of its first page that it maps is not used"),
];

fn is_without_effect(field: &str) -> bool {
    let (kind, name) = field.rsplit_once(' ').unwrap_or_default();
    let is_of_kind = match name {
        "p_paddr" => true,
        "p_align" => kind != "PT_TLS",
        "p_flags" => kind != "PT_LOAD",
        "p_filesz" => kind == "PT_GNU_RELRO",
        "p_offset" => kind == "PT_LOAD",
        _ => false,
    };
    is_of_kind && WITHOUT_EFFECT.iter().any(|(field, _)| *field == name)
}

fn holds(outcomes: &[RuleOutcome]) -> bool {
    outcomes.iter().all(|outcome| outcome.verdict == Verdict::Pass)
}

#[test]
fn rejects_every_single_bit_edit_of_a_header_that_can_stop_the_start() {
    let files = [
        ("linked", Stage::Linked),
        ("stripped", Stage::Stripped),
        ("static-pie", Stage::Stripped),
        ("arm64", Stage::Stripped),
    ];
    for (name, stage) in files {
        let policy = Policy::static_musl(stage, 8 * MIB);
        let mut found = accepted(&fixture(name), |bytes| {
            inspect(bytes).is_ok_and(|facts| holds(&judge(&facts, stage, &policy, &Evidence::default())))
        });
        found.retain(|field| !is_without_effect(field));
        assert_eq!(found, [""; 0], "{name}");
    }
}

/// All addresses, sizes and flags of the program are in its debug file too.
#[test]
fn rejects_more_edits_with_the_debug_file() {
    let debug = fixture("stripped.debug");
    let debug_facts = inspect(&debug).unwrap();
    let policy = Policy { needs_debug_file: true, ..Policy::static_musl(Stage::Stripped, 8 * MIB) };
    let found = accepted(&fixture("stripped"), |bytes| {
        let evidence = Evidence {
            debug_file: Some(&debug_facts),
            debug_file_bytes: Some(&debug),
            debug_file_name: Some("stripped.debug"),
            ..Evidence::default()
        };
        inspect(bytes).is_ok_and(|facts| holds(&judge(&facts, Stage::Stripped, &policy, &evidence)))
    });
    assert_eq!(found, ["PT_LOAD p_offset"]);
}

#[test]
fn rejects_every_single_bit_edit_of_the_outer_headers_of_packed_files() {
    for (name, original) in [("packed-nrv2b", "stripped"), ("packed-static-pie", "static-pie")] {
        let policy = Policy::static_musl(Stage::Packed, 8 * MIB);
        let parent = sha256(&fixture(original));
        let found = accepted(&fixture(name), |bytes| {
            let Ok(facts) = inspect(bytes) else { return false };
            let Some(Ok(unpacked)) = facts.upx.as_ref().map(|upx| unpack(bytes, upx, MIB)) else {
                return false;
            };
            let unpacked = sha256(&unpacked);
            let evidence = Evidence {
                parent_sha256: Some(&parent),
                unpacked_sha256: Some(Ok(&unpacked)),
                ..Evidence::default()
            };
            holds(&judge(&facts, Stage::Packed, &policy, &evidence))
        });
        assert_eq!(found, [""; 0], "{name}");
    }
}
