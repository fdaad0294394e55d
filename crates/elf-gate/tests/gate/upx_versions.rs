//! Files of several UPX versions for both machines: consistent, and unpacked to the original.

use std::collections::BTreeMap;

use elf_gate::facts::ElfType;
use elf_gate::upx::unpack;
use elf_gate::{Evidence, Policy, Stage, Verdict, judge};

use crate::fixtures::{MIB, facts, fixture, sha256};

/// Digests of the originals by name.
fn originals() -> BTreeMap<String, String> {
    let text = String::from_utf8(fixture("upx/originals.sha256")).unwrap();
    let lines = text.lines().map(|line| line.split_once("  ").expect("`digest  name`"));
    lines.map(|(digest, name)| (name.to_string(), digest.to_string())).collect()
}

/// The name contains version, method and the name of the original.
fn packed_files() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/elf/upx");
    let names =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("upx-")).collect()
}

#[test]
fn reads_and_unpacks_files_of_all_supported_versions() {
    let originals = originals();
    let (mut versions, mut filters, mut kinds) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for name in packed_files() {
        let bytes = fixture(&format!("upx/{name}"));
        let facts = facts(&bytes);
        let upx = facts.upx.as_ref().unwrap();
        assert_eq!(upx.problems, [], "{name}");
        let original = name.splitn(4, '-').nth(3).unwrap();
        let unpacked = unpack(&bytes, upx, MIB).unwrap_or_else(|error| panic!("{name}: {error}"));
        let unpacked = sha256(&unpacked);
        assert_eq!(unpacked, originals[original], "{name} does not unpack to {original}");
        let evidence = Evidence {
            parent_sha256: Some(&originals[original]),
            unpacked_sha256: Some(Ok(&unpacked)),
            ..Evidence::default()
        };
        let policy = Policy {
            machines: vec![facts.header.machine.clone()],
            ..Policy::static_musl(Stage::Packed, 8 * MIB)
        };
        // 3.96 aligns the outer segments of aarch64 to 4 KiB: such a file does not load with pages of 64 KiB (upx/upx#737).
        let is_misaligned = name.starts_with("upx-3.96-") && name.ends_with("-aarch64");
        for outcome in judge(&facts, Stage::Packed, &policy, &evidence) {
            let expected = match outcome.rule {
                "segment-align" if is_misaligned => Verdict::Violation,
                _ => Verdict::Pass,
            };
            assert_eq!(outcome.verdict, expected, "{name}: {outcome:?}");
        }
        let (version, machine) = (upx.loader.as_ref().unwrap().version, facts.header.machine.clone());
        *versions.entry((version, machine.clone())).or_insert(0) += 1;
        *kinds.entry((machine, facts.header.elf_type == ElfType::Dynamic)).or_insert(0) += 1;
        for block in &upx.blocks {
            *filters.entry(block.filter).or_insert(0) += 1;
        }
    }
    // The files must cover these versions, kinds and filters.
    for machine in ["x86_64", "aarch64"] {
        assert!(versions.contains_key(&(13, machine.into())), "no file of 3.96 for {machine}: {versions:?}");
        assert!(versions.contains_key(&(14, machine.into())), "no file of 4.2 for {machine}: {versions:?}");
        assert!(kinds.contains_key(&(machine.into(), true)), "no static-PIE for {machine}: {kinds:?}");
        assert!(
            kinds.contains_key(&(machine.into(), false)),
            "no fixed-position file for {machine}: {kinds:?}"
        );
    }
    for filter in [0, 0x49, 0x52] {
        assert!(filters.contains_key(&filter), "no block with filter {filter:#04x}: {filters:?}");
    }
}
