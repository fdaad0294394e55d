//! `difftest kernel` on one small program: it agrees with the gate, fails without rules, and reports what it cannot examine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use process::sandbox::{End, Patch, Program, Sandbox};
use serde_json::{Value, json};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/elf/stripped")
}

/// The document of a run. What the kernel of the machine does with an edit is no constant, so no snapshot has it.
#[track_caller]
fn document(args: &[&str], code: i32) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let mut xtask = Command::new(env!("CARGO_BIN_EXE_xtask"));
    xtask.args(["difftest", "kernel", "--format", "json", "--cache-dir"]).arg(folder.path()).args(args);
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "GIT_DIR", "SOURCE_DATE_EPOCH"] {
        xtask.env_remove(name);
    }
    let output = xtask.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn the_gate_refuses_every_sampled_edit_that_breaks_the_start() {
    let fixture = fixture();
    let all = &document(&["--edits", "600", fixture.to_str().unwrap()], 0)["all"];
    assert_eq!((&all["edits"], &all["not_packed"], &all["missed"]), (&600.into(), &0.into(), &json!([])));
    assert!(all["refused_by"]["program-headers"].as_u64().is_some_and(|count| count > 0), "{all:#}");
}

#[test]
fn fails_and_lists_the_edits_when_rules_are_ignored() {
    let fixture = fixture();
    let args = ["--edits", "600", "--without-rules", fixture.to_str().unwrap()];
    let document = document(&args, 1);
    let missed = document["all"]["missed"].as_array().unwrap();
    let is_crash = |edit: &Value| {
        edit["start"] == "signal 11"
            && edit["field"].as_str().is_some_and(|field| field.ends_with(" PT_LOAD p_vaddr"))
    };
    assert!(missed.iter().any(is_crash), "{missed:#?}");
}

#[test]
fn reports_programs_that_cannot_be_examined() {
    let text = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let dist = ["--dist-dir", "no-such-folder", "--only", "linked"];
    let runs: [&[&str]; 4] =
        [&[text.to_str().unwrap()], &["no-such-file"], &dist, &["--only", "no such program"]];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).display().to_string();
    let shown = runs.map(|args| format!("{:#}\n", document(args, 2)["diagnostics"]).replace(&root, "XTASK"));
    insta::assert_snapshot!(shown.concat());
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
