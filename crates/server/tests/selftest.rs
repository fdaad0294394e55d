//! `inferd selftest` passes, and fails for a damaged executable.
//!
//! The tests run the file that cargo has linked, on the musl target with the link flag and the patched OpenBLAS. The
//! release pipeline runs the self-test of the packed file.

mod run_inferd;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use run_inferd::{Finished, inferd, run};
use serde_json::Value;

fn report(ran: &Finished) -> Value {
    let report: Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout));
    assert_eq!(report["schema"], 1);
    assert_eq!(report["ok"], ran.code == Some(0));
    report
}

fn verdict<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    let check =
        checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no check `{name}`"));
    check["verdict"].as_str().unwrap()
}

#[test]
fn every_check_passes() {
    let ran = run(inferd().args(["selftest", "--json"]));
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(report(&ran)["checks"].as_array().unwrap().len() >= 7);
}

#[test]
fn the_text_lists_every_check_and_the_totals() {
    let ran = run(inferd().arg("selftest"));
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    assert!(ran.stdout.contains("default-attr-thread-stack"), "{}", ran.stdout);
    assert!(ran.stdout.trim_end().ends_with("0 failed, 0 not measured"), "{}", ran.stdout);
}

/// Sets p_memsz of PT_GNU_STACK in a 64-bit little-endian ELF file, as a link without `-z stack-size` would.
fn set_stack_size(elf: &mut [u8], bytes: u64) {
    const PT_GNU_STACK: u32 = 0x6474_e551;
    const PHDR_BYTES: usize = 56;
    let number = |at: usize, len: usize, elf: &[u8]| {
        elf[at..at + len].iter().rev().fold(0usize, |value, byte| value << 8 | usize::from(*byte))
    };
    let (table, count) = (number(32, 8, elf), number(56, 2, elf));
    let header = (0..count)
        .map(|index| table + index * PHDR_BYTES)
        .find(|at| number(*at, 4, elf) == PT_GNU_STACK as usize);
    let memsz = header.expect("PT_GNU_STACK") + 40;
    elf[memsz..memsz + 8].copy_from_slice(&bytes.to_le_bytes());
}

#[test]
fn fails_for_a_copy_without_a_stack_size_in_its_header() {
    let mut elf = fs::read(env!("CARGO_BIN_EXE_inferd")).unwrap();
    set_stack_size(&mut elf, 0);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("inferd");
    fs::write(&copy, elf).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();

    let ran = run(Command::new(&copy).args(["selftest", "--json"]));
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    let report = report(&ran);
    assert_eq!(verdict(&report, "default-attr-thread-stack"), "fail");
    // The patched OpenBLAS and the compute threads set their own sizes and do not depend on the flag.
    assert_eq!(verdict(&report, "blas-worker-stacks"), "pass");
    assert_eq!(verdict(&report, "all-thread-stacks"), "pass");
}

#[test]
fn version_lists_commit_target_and_libraries() {
    let short = run(inferd().arg("-V"));
    assert_eq!((short.code, short.stdout.lines().count()), (Some(0), 1));
    let long = run(inferd().arg("--version"));
    assert_eq!(long.code, Some(0));
    for field in ["inferd 0.", "commit: ", "target: ", "openblas: ", "openblas patches: "] {
        assert!(long.stdout.contains(field), "{}", long.stdout);
    }
}

#[test]
fn usage_errors_with_json_are_a_json_document() {
    let ran = run(inferd().args(["selftest", "--json", "--no-such-flag"]));
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(2), ""));
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    let diagnostic = &document["diagnostics"][0];
    assert_eq!((&diagnostic["code"], &diagnostic["severity"]), (&"invalid-argument".into(), &"error".into()));
}

#[test]
fn explain_prints_a_code_and_rejects_an_unknown_one() {
    let ran = run(inferd().args(["explain", "no-model"]));
    assert_eq!(ran.code, Some(0));
    assert!(ran.stdout.starts_with("no-model: no model is configured\n"), "{}", ran.stdout);
    let ran = run(inferd().args(["explain", "no-models"]));
    assert_eq!(ran.code, Some(2));
    insta::assert_snapshot!(ran.stderr, @r"
    error[unknown-code]: no code or rule has the name `no-models`
      expected: the code in the brackets of a message, or the name of a rule
    hint: did you mean `no-model`? `inferd explain` lists all of them
    ");
}
