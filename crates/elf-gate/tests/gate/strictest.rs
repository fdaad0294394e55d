//! Policies that are derived from a file: they parse, the file passes them, and damaged copies do not.

use std::path::{Path, PathBuf};

use elf_gate::facts::{PT_GNU_STACK, PT_LOAD};
use elf_gate::policy::{PolicyDocument, strictest};
use elf_gate::{Evidence, Stage, Verdict, inspect, judge};

use crate::fixtures::{MIB, ProgramHeader, edited, facts, fixture};

/// The policy text of a file, parsed again.
fn derived(bytes: &[u8]) -> Option<(PolicyDocument, Stage)> {
    let facts = inspect(bytes).ok()?;
    let (stage, _) = Stage::detect(&facts);
    let evidence = Evidence { own_bytes: Some(bytes), ..Evidence::default() };
    let text = strictest(&facts, stage, &evidence).to_text("every");
    let parsed = PolicyDocument::parse(&text);
    Some((parsed.unwrap_or_else(|problems| panic!("{problems:?}\n{text}")), stage))
}

fn violations(policy: &PolicyDocument, stage: Stage, bytes: &[u8]) -> Vec<&'static str> {
    let facts = elf_gate::inspect_for(bytes, &policy.local_paths()).unwrap();
    let evidence = Evidence { own_bytes: Some(bytes), ..Evidence::default() };
    let outcomes = judge(&facts, stage, &policy.at(stage), &evidence);
    outcomes
        .iter()
        .filter(|outcome| outcome.effective() != Verdict::Pass)
        .map(|outcome| outcome.rule)
        .collect()
}

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/elf");
    let folders = [root.clone(), root.join("upx"), root.join("rules")];
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect()
}

fn passes_its_own_policy(path: &Path) -> bool {
    let Ok(bytes) = std::fs::read(path) else { return false };
    let Some((policy, stage)) = derived(&bytes) else { return false };
    assert_eq!(violations(&policy, stage, &bytes), [""; 0], "{}", path.display());
    true
}

#[test]
fn every_fixture_passes_the_policy_that_is_derived_from_it() {
    let count = fixtures().iter().filter(|path| passes_its_own_policy(path)).count();
    assert!(count > 40, "{count} fixtures");
}

#[test]
fn system_files_pass_the_policies_that_are_derived_from_them() {
    let folders = ["/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu"];
    let entries = folders.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let small = |path: &&PathBuf| {
        path.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() < MIB)
    };
    let sample = paths.iter().filter(small).step_by(12).take(60);
    sample.for_each(|path| {
        passes_its_own_policy(path);
    });
}

#[test]
fn a_derived_policy_is_strict() {
    let (policy, stage) = derived(&fixture("stripped")).unwrap();
    let policy = policy.at(stage);
    assert_eq!(policy.machines, ["x86_64"]);
    assert_eq!(policy.stack_size.exact.map(|size| size.bytes()), Some(8 * MIB));
    assert!(
        policy.is_static && policy.stripped && policy.no_text_relocations && !policy.allow_executable_stack
    );
    let size = facts(&fixture("stripped")).size_bytes;
    let max = policy.size_max.unwrap().bytes();
    assert!(max >= size + size / 10 && max <= size + size / 10 + 1024);
}

#[test]
fn damaged_copies_violate_the_derived_policy() {
    let (policy, stage) = derived(&fixture("stripped")).unwrap();
    let check = |bytes: Vec<u8>, rule: &str| {
        let violated = violations(&policy, stage, &bytes);
        assert!(violated.contains(&rule), "{rule} in {violated:?}");
    };
    check(edited("stripped", |bytes| bytes[18] = 40), "machine");
    check(edited("stripped", |bytes| bytes[7] = 3), "abi");
    check(
        edited("stripped", |bytes| ProgramHeader::stack(bytes).set_memory_size(bytes, 8 * MIB - 1)),
        "stack-size",
    );
    check(
        edited("stripped", |bytes| ProgramHeader::of(bytes, PT_GNU_STACK).set_flags(bytes, 7)),
        "stack-not-executable",
    );
    check(
        edited("stripped", |bytes| ProgramHeader::of(bytes, PT_LOAD).set_flags(bytes, 7)),
        "no-writable-executable-segment",
    );
    check(edited("stripped", |bytes| bytes.extend(vec![0; bytes.len() / 5])), "size-budget");
    check(fixture("linked"), "stripped");
    let (policy, stage) = derived(&fixture("dynamic")).unwrap();
    assert_eq!(stage, Stage::detect(&facts(&fixture("dynamic"))).0);
    assert_eq!(policy.at(stage).needed_allowed, facts(&fixture("dynamic")).dynamic.unwrap().needed);
}

#[test]
fn a_violated_rule_of_every_policy_is_an_exception_with_a_comment() {
    let bytes = edited("packed-nrv2b", |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
    });
    let facts = facts(&bytes);
    let table = strictest(&facts, Stage::Packed, &Evidence::default());
    assert!(!table.exceptions.is_empty());
    insta::assert_snapshot!(table.to_text("packed"));
}
