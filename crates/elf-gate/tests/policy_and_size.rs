//! The commands `init` and `size` of the binary `elf-gate`, and the policy that it finds beside a file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/elf");

/// Exit code and both streams.
fn run(folder: impl AsRef<Path>, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elf-gate"));
    command.current_dir(folder).args(args).stdin(Stdio::null()).env_remove("GITHUB_STEP_SUMMARY");
    let output = command.output().expect("elf-gate runs");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!err.contains("panicked"), "{err}");
    (output.status.code().expect("no signal"), out, err)
}

/// The transcript of a run that must end with `code`.
#[track_caller]
fn check(folder: impl AsRef<Path>, args: &[&str], code: i32) -> String {
    let (found, out, err) = run(folder, args);
    assert_eq!(found, code, "{out}{err}");
    format!("$ elf-gate {}\n{out}{err}exit code {code}\n\n", args.join(" "))
}

/// A folder with `release/app`, whose stack size is missing, and a policy beside it that accepts that.
fn release(policy: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("release/sub")).unwrap();
    for name in ["release/app", "release/sub/app", "app"] {
        std::fs::copy(Path::new(FIXTURES).join("no-stack-size"), folder.path().join(name)).unwrap();
    }
    std::fs::write(folder.path().join("release/gate-policy.toml"), policy).unwrap();
    folder
}

const LENIENT: &str = "[every]\nmachines = [\"x86_64\"]\n";

#[test]
fn the_policy_beside_a_file_is_used_and_named() {
    let mut shown = String::new();
    let folder = release(LENIENT);
    for operand in ["release", "release/app", "./release/app"] {
        shown += &check(&folder, &[operand], 0);
    }
    shown += &check(folder.path().join("release"), &["app"], 0);
    // A folder below an operand belongs to it; a folder above a named file does not.
    shown += &check(&folder, &["release"], 0);
    shown += &check(&folder, &["release/sub/app"], 1);
    shown += &check(&folder, &["app"], 1);
    insta::assert_snapshot!(shown);
}

#[test]
fn flags_replace_the_policy_beside_a_file() {
    let mut shown = String::new();
    let folder = release(LENIENT);
    std::fs::write(folder.path().join("own.toml"), "extends = \"static-musl\"").unwrap();
    shown += &check(&folder, &["release/app", "--policy", "own.toml"], 1);
    shown += &check(&folder, &["release/app", "--preset", "static-musl"], 1);
    shown += &check(&folder, &["release/app", "--stack-size", "8 MiB"], 1);
    insta::assert_snapshot!(shown);
}

#[test]
fn each_file_is_judged_by_the_policy_beside_it() {
    let folder = release(LENIENT);
    insta::assert_snapshot!(check(&folder, &["release/app", "app"], 1));
}

#[test]
fn every_format_names_the_policy() {
    let folder = release(LENIENT);
    for format in ["human", "json", "sarif", "junit", "github"] {
        let (code, out, _) = run(&folder, &["release", "--format", format]);
        assert_eq!(code, 0, "{out}");
        assert!(out.contains("release/gate-policy.toml"), "{format}: {out}");
    }
    let (_, out, _) = run(&folder, &["release", "--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["policies"][0]["source"], "beside_files");
    assert_eq!(report["policies"][0]["files"], 2);
}

#[test]
fn a_policy_of_another_version_fails_closed_with_the_versions() {
    let mut shown = String::new();
    let folder = release("gate_version = \"9.9.9\"\n[every]\nfrom_the_future = true\n");
    shown += &check(&folder, &["release/app"], 2);
    shown += &check(&folder, &["release/app", "--preset", "shared-library"], 1);
    let folder = release("gate_version = \"9.9.9\"\n[every.severity]\nfuture-rule = \"note\"\n");
    shown += &check(&folder, &["release/app"], 2);
    insta::assert_snapshot!(shown);
}

#[test]
fn a_hostile_policy_beside_a_file_is_an_error() {
    let mut shown = String::new();
    let folder = release(LENIENT);
    let policy = folder.path().join("release/gate-policy.toml");
    std::fs::write(&policy, "#".repeat((1 << 20) + 1)).unwrap();
    shown += &check(&folder, &["release/app"], 2);
    std::fs::remove_file(&policy).unwrap();
    std::fs::create_dir(&policy).unwrap();
    shown += &check(&folder, &["release/app"], 2);
    std::fs::remove_dir(&policy).unwrap();
    std::os::unix::fs::symlink("nowhere", &policy).unwrap();
    shown += &check(&folder, &["release/app"], 2);
    std::fs::remove_file(&policy).unwrap();
    // To open a pipe without a writer blocks.
    assert!(Command::new("mkfifo").arg(&policy).status().unwrap().success());
    shown += &check(&folder, &["release/app"], 2);
    insta::assert_snapshot!(shown);
}

fn folder_with(names: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in names {
        std::fs::copy(Path::new(FIXTURES).join(from), folder.path().join(to)).unwrap();
    }
    folder
}

#[test]
fn init_writes_a_policy_that_its_file_passes_and_other_files_violate() {
    let mut shown = String::new();
    let folder = folder_with(&[
        ("stripped", "app"),
        ("stripped.debug", "stripped.debug"),
        ("no-stack-size", "other"),
        ("packed-nrv2b", "packed"),
        ("stripped", "packed.unpacked"),
    ]);
    shown += &check(&folder, &["init", "app", "-o", "policy.toml"], 0);
    shown += &check(&folder, &["--policy", "policy.toml", "app"], 0);
    shown += &check(&folder, &["--policy", "policy.toml", "other"], 1);
    shown += &check(&folder, &["init", "app", "-o", "policy.toml"], 2);
    // A packed file and its parent have tables of their own.
    shown += &check(&folder, &["init", "packed", "-o", "packed.toml"], 0);
    shown += &check(&folder, &["--policy", "packed.toml", "packed"], 0);
    let text = std::fs::read_to_string(folder.path().join("packed.toml")).unwrap();
    assert!(text.contains("\n[packed]\n") && text.contains("\n[stripped]\n"), "{text}");
    shown += &check(&folder, &["init", "policy.toml"], 2);
    shown += &check(&folder, &["init", "none"], 2);
    insta::assert_snapshot!(shown);
}

#[test]
fn files_named_like_commands_are_judged_by_their_path() {
    let mut shown = String::new();
    let folder = folder_with(&[("linked", "init"), ("linked", "size")]);
    shown += &check(&folder, &["./init", "./size"], 0);
    insta::assert_snapshot!(shown);
}

#[test]
fn the_policy_of_init_has_a_comment_for_each_key() {
    let (code, out, _) = run(FIXTURES, &["init", "dynamic"]);
    assert_eq!(code, 0);
    insta::assert_snapshot!(out);
}

#[test]
fn size_lists_parts_that_add_up_to_the_file() {
    let mut shown = String::new();
    let schema = format!("{}/../../schemas/elf-gate-size-1.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    for name in ["linked", "stripped", "stripped.debug", "dynamic", "object.o", "linked-32", "packed-nrv2b"] {
        let (code, out, err) = run(FIXTURES, &["size", "--format", "json", name]);
        assert_eq!(code, 0, "{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        jsonschema::validate(&schema, &report).unwrap_or_else(|error| panic!("{name}: {error}"));
        let size = std::fs::metadata(Path::new(FIXTURES).join(name)).unwrap().len();
        assert_eq!(report["size_bytes"], size);
        for part in ["crates", "sections", "symbols"] {
            let Some(rows) = report[part].as_array() else { continue };
            let sum: u64 = rows.iter().map(|row| row["size_bytes"].as_u64().unwrap()).sum();
            assert_eq!(sum, size, "{part} of {name}");
        }
    }
    let (_, out, _) = run(FIXTURES, &["size", "linked", "--top", "3"]);
    insta::assert_snapshot!(out);
    let folder = folder_with(&[("stripped", "app")]);
    shown += &check(&folder, &["size", "app"], 0);
    insta::assert_snapshot!(shown);
}

#[test]
fn size_agrees_with_nm_and_size() {
    let tool = |name: &str, args: &[&str]| -> Vec<Vec<String>> {
        let output = Command::new(name).args(args).arg("linked").current_dir(FIXTURES).output();
        let output = output.unwrap_or_else(|error| panic!("{name} of binutils: {error}"));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split_whitespace().map(str::to_string).collect()).collect()
    };
    let (_, out, _) = run(FIXTURES, &["size", "--format", "json", "linked"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    let bytes_of = |part: &str, name: &str| {
        let rows = report[part].as_array().unwrap();
        rows.iter().find(|row| row["name"] == name).map(|row| row["size_bytes"].as_u64().unwrap())
    };
    let mut compared = 0;
    for line in tool("nm", &["--print-size", "--size-sort"]) {
        let [_, size, kind, name] = &line[..] else { continue };
        // Symbols of .bss have no bytes in the file.
        if !kind.eq_ignore_ascii_case("b") {
            assert_eq!(bytes_of("symbols", name), u64::from_str_radix(size, 16).ok(), "{name}");
            compared += 1;
        }
    }
    for line in tool("size", &["-A"]) {
        let [name, size, _] = &line[..] else { continue };
        if name.starts_with('.') && name != ".bss" {
            assert_eq!(bytes_of("sections", name), size.parse().ok(), "{name}");
            compared += 1;
        }
    }
    assert!(compared > 5, "{compared}");
}

#[test]
fn size_shows_the_growth_since_a_baseline() {
    let mut shown = String::new();
    let folder = folder_with(&[("linked", "old"), ("linked", "new")]);
    let path = |name: &str| -> PathBuf { folder.path().join(name) };
    let mut bytes = std::fs::read(path("new")).unwrap();
    bytes.extend([0; 100]);
    std::fs::write(path("new"), bytes).unwrap();
    shown += &check(&folder, &["size", "new", "--baseline", "old"], 0);
    // A manifest of an older release has sizes only.
    std::fs::write(path("m.json"), r#"{"stages": [{"stage": "linked", "size_bytes": 17000}]}"#).unwrap();
    shown += &check(&folder, &["size", "new", "--baseline", "m.json"], 0);
    let manifest = r#"{"stages": [{"stage": "linked", "size_bytes": 1000,
        "breakdown": {"sections": {".text": 7}, "crates": {"core": 3}}}]}"#;
    std::fs::write(path("m.json"), manifest).unwrap();
    shown += &check(&folder, &["size", "new", "--baseline", "m.json"], 0);
    std::fs::write(path("growth.toml"), "[every]\ngrowth_percent_max = 10\n").unwrap();
    let args = ["--policy", "growth.toml", "--baseline", "m.json", "new"];
    shown += &check(&folder, &args, 1);
    insta::assert_snapshot!(shown);
}
