//! `cargo xtask verify-elf` has the interface and the exit codes of `elf-gate`; crates/elf-gate/tests/cli.rs tests the details.

use std::process::{Command, Output};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/elf");

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(FIXTURES).arg("verify-elf").args(args).env_remove("GITHUB_STEP_SUMMARY");
    command.output().expect("xtask runs")
}

#[track_caller]
fn check(args: &[&str], code: i32, expected: &str) {
    let output = run(args);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(text.contains(expected), "`{expected}` in {text}");
    assert!(!text.contains('\x1b') && !text.contains("panicked"), "{text}");
}

#[test]
fn exit_codes_equal_those_of_elf_gate() {
    check(&["linked", "static-pie"], 0, "2 files: 2 passed");
    check(&["no-stack-size"], 1, "stack-size");
    check(&["packed-nrv2b"], 2, "pass the stripped file with `--parent FILE`");
    check(&["no-such-file"], 2, "error[unreadable]: cannot read `no-such-file`");
    check(&["linked", "--preset", "musl"], 2, "error[unknown-preset]: no preset is named `musl`");
    check(&["linked", "--stage", "sripped"], 2, "unknown stage `sripped`");
    check(&["--explain", "inner-stack-size"], 0, "inner-stack-size: ");
    check(&["diff", "linked", "stripped"], 0, ".debug_line");
}

#[test]
fn reads_the_policy_of_this_release() {
    check(&["linked", "--policy", "../../release.toml"], 1, "cblas_sgemm");
}

#[test]
fn json_is_valid_when_the_run_fails() {
    let output = run(&["--format", "json", "linked", "--policy", "no-such-policy"]);
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("valid JSON");
    assert_eq!(report["diagnostics"][0]["code"], "unreadable", "{report}");
}
