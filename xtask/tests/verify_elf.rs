//! `verify-elf` as a user meets it: exit codes, one clear error for each bad input, JSON that is always whole.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/elf").join(name)
}

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("verify-elf");
    for arg in args {
        // `@name` is a fixture.
        match arg.strip_prefix('@') {
            Some(name) => command.arg(fixture(name)),
            None => command.arg(arg),
        };
    }
    command.output().expect("xtask runs")
}

#[track_caller]
fn check(args: &[&str], code: i32, expected: &str) {
    let output = run(args);
    let talk =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{talk}");
    assert!(talk.contains(expected), "`{expected}` in {talk}");
    assert!(!talk.contains('\x1b') && !talk.contains("panicked"), "{talk}");
}

#[test]
fn exit_codes() {
    check(&["@linked", "@static-pie"], 0, "2 files: 2 passed");
    check(&["@stripped", "--debug-file", "@stripped.debug"], 0, "debug-file-matches");
    check(&["@packed-lzma", "--parent", "@stripped"], 0, "on both sides");
    check(&["@no-stack-size"], 1, "stack-size");
    check(&["@linked", "--stage", "stripped"], 1, "stripped");
    check(&["@stripped", "--stack-size", "4 MiB"], 1, "4194304 bytes (4 MiB)");
    check(&["@packed-nrv2b", "--parent", "@static-pie"], 1, "round-trip");
    check(&["@packed-nrv2b"], 2, "give the stripped file that was packed with `--parent FILE`");
    // A known violation outweighs an unknown.
    check(&["@no-stack-size", "no-such-file"], 1, "1 in violation, 1 not decided");
}

#[test]
fn bad_input() {
    check(&["no-such-file"], 2, "cannot read `no-such-file`: No such file or directory");
    check(&[env!("CARGO_MANIFEST_DIR")], 2, "is a directory, expected an ELF file");
    check(&["@start.c"], 2, "not an ELF file: expected `7f 45 4c 46` at offset 0");
    let folder = tempfile::tempdir().unwrap();
    let truncated = folder.path().join("truncated");
    let bytes = std::fs::read(fixture("linked")).unwrap();
    std::fs::write(&truncated, &bytes[..40]).unwrap();
    check(
        &[truncated.to_str().unwrap()],
        2,
        "truncated ELF file: the ELF header needs 64 bytes, the file has 40",
    );
    let empty = folder.path().join("empty");
    std::fs::write(&empty, b"").unwrap();
    check(&[empty.to_str().unwrap()], 2, "found an empty file");
}

#[test]
fn usage() {
    check(&[], 2, "required");
    check(&["@linked", "--stage", "sripped"], 2, "expected `linked`, `stripped` or `packed`");
    check(&["@linked", "--stack-size", "8 MB"], 2, "unknown unit `MB`");
    check(&["@linked", "@stripped", "--parent", "@linked"], 2, "belong to one file");
    check(&["--explain", "inner-stack-size"], 0, "catches");
    check(&["--explain", "stack"], 2, "the rules are machine, stack-size");
}

#[test]
fn json_is_always_whole() {
    for args in [
        &["--format", "json", "@no-stack-size", "no-such-file", "@start.c"][..],
        &["--format", "json", "@packed-nrv2b"],
        &["--format", "json", "no-such-file"],
    ] {
        let output = run(args);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("valid JSON");
        assert_eq!(report["files"].as_array().unwrap().len(), args.len() - 2, "{report}");
    }
}
