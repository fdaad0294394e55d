//! `cargo xtask verify-elf` has the interface and the exit codes of `elf-gate`; crates/elf-gate/tests/cli.rs tests the details.

use std::process::{Command, Output};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/elf");

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(FIXTURES).arg("verify-elf").args(args).env_remove("GITHUB_STEP_SUMMARY");
    command.output().expect("xtask runs")
}

/// The arguments and both streams of a run that must end with `code`.
#[track_caller]
fn check(args: &[&str], code: i32) -> String {
    let output = run(args);
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(!text.contains('\x1b') && !text.contains("panicked"), "{text}");
    format!("$ verify-elf {}\n{text}exit code {code}\n\n", args.join(" "))
}

#[test]
fn exit_codes_equal_those_of_elf_gate() {
    let shown = [
        check(&["linked", "static-pie"], 0),
        check(&["no-stack-size"], 1),
        check(&["packed-nrv2b"], 2),
        check(&["no-such-file"], 2),
        check(&["linked", "--preset", "musl"], 2),
        check(&["linked", "--stage", "sripped"], 2),
        check(&["--explain", "inner-stack-size"], 0),
        check(&["diff", "linked", "stripped"], 0),
    ];
    insta::assert_snapshot!(shown.concat());
}

/// The symbols that a release requires change often.
#[test]
fn reads_the_policy_of_this_release() {
    let output = run(&["linked", "--policy", "../../release.toml", "--format", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let rules = report["files"][0]["rules"].as_array().unwrap();
    let symbols = rules.iter().find(|rule| rule["rule"] == "required-symbols").unwrap();
    assert_eq!(symbols["verdict"], "violation", "{symbols}");
    let missing = symbols["found"].as_str().and_then(|found| found.strip_prefix("missing: ")).unwrap();
    assert!(missing.split(", ").any(|symbol| symbol == "cblas_sgemm"), "{symbols}");
}

#[test]
fn json_is_valid_when_the_run_fails() {
    let output = run(&["--format", "json", "linked", "--policy", "no-such-policy"]);
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("valid JSON");
    assert_eq!(report["diagnostics"][0]["code"], "unreadable", "{report}");
}
