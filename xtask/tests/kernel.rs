//! `difftest kernel` on one small program: it agrees with the gate, fails without rules, and reports what it cannot examine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use process::sandbox::{End, Patch, Program, Sandbox};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/elf/stripped")
}

#[track_caller]
fn check(args: &[&str], code: i32, expected: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.args(["difftest", "kernel", "--cache-dir"]).arg(folder.path()).args(args);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "GIT_DIR", "SOURCE_DATE_EPOCH"] {
        xtask.env_remove(name);
    }
    let output = xtask.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in expected {
        assert!(text.contains(part), "`{part}` is missing from: {text}");
    }
}

#[test]
fn the_gate_refuses_every_sampled_edit_that_breaks_the_start() {
    let fixture = fixture();
    check(&["--edits", "600", fixture.to_str().unwrap()], 0, &["| 600 | 0 |", "program-headers"]);
}

#[test]
fn fails_and_lists_the_edits_when_rules_are_ignored() {
    let fixture = fixture();
    let args = ["--edits", "600", "--without-rules", fixture.to_str().unwrap()];
    check(&args, 1, &["PT_LOAD p_vaddr", "signal 11"]);
}

#[test]
fn reports_programs_that_cannot_be_examined() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    check(&[text.to_str().unwrap()], 2, &["error[kernel-unsupported-program]", "hint:"]);
    check(&["no-such-file"], 2, &["error[kernel-unsupported-program]", "No such file"]);
    let dist = ["--dist-dir", "no-such-folder", "--only", "linked"];
    check(&dist, 2, &["error[kernel-no-release]", "hint: cargo xtask dist"]);
    check(&["--only", "no such program"], 2, &["error[kernel-no-program]"]);
}

#[test]
fn a_sandbox_reports_every_end_and_restores_the_file() {
    let fixture = fixture();
    let bytes = std::fs::read(&fixture).unwrap();
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let (entry, table) = (word(24), word(32) as usize);
    let segments = (0..usize::from(bytes[56])).map(|index| table + 56 * index);
    let code = segments.into_iter().find(|&at| bytes[at..at + 5] == [1, 0, 0, 0, 5]).unwrap();
    let entry_offset = entry - word(code + 16) + word(code + 8);
    let mut server = Command::new(env!("CARGO_BIN_EXE_xtask"));
    server.args(["sandbox", "--"]);
    let program = Program { file: &fixture, args: &[], timeout: Duration::from_millis(300) };
    let mut sandbox = Sandbox::start(server, &program).unwrap();
    let mut run =
        |offset: u64, bytes: &[u8]| sandbox.run(&[Patch { offset, bytes: bytes.to_vec() }]).unwrap().end;
    let original = run(0, b"\x7fELF");
    assert_eq!(original, End::Exited(0));
    assert!(matches!(run(0, b"text"), End::NotStarted(_)));
    // ud2
    assert_eq!(run(entry_offset, &[0x0f, 0x0b]), End::Killed(4));
    // A jump to itself.
    assert_eq!(run(entry_offset, &[0xeb, 0xfe]), End::TimedOut);
    // exit(7)
    assert_eq!(run(entry_offset, &[0xbf, 7, 0, 0, 0, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]), End::Exited(7));
    assert_eq!(run(0, b"\x7fELF"), original);
}
