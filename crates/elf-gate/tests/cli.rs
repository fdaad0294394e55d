//! The binary `elf-gate`: exit codes, messages, and documents that are valid for every failure.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

#[path = "support/image_archive.rs"]
mod image_archive;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/elf");

fn fixture(name: &str) -> PathBuf {
    Path::new(FIXTURES).join(name)
}

fn command(folder: impl AsRef<Path>, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elf-gate"));
    command.current_dir(folder).args(args).stdin(Stdio::null()).env_remove("GITHUB_STEP_SUMMARY");
    command
}

fn run(folder: impl AsRef<Path>, args: &[&str]) -> Output {
    command(folder, args).output().expect("elf-gate runs")
}

/// Exit code and both streams, for snapshots. Names are relative to the folder.
fn transcript(folder: impl AsRef<Path>, args: &[&str]) -> String {
    let output = run(folder, args);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(!out.contains('\x1b') && !err.contains("panicked"), "{out}{err}");
    let code = output.status.code().expect("no signal");
    format!("$ elf-gate {}\n{out}{err}exit code {code}\n", args.join(" "))
}

fn transcripts(folder: impl AsRef<Path>, commands: &[&[&str]]) -> String {
    commands.iter().map(|args| transcript(&folder, args)).collect::<Vec<_>>().join("\n")
}

/// The transcript of a run that must end with `code`, and an empty line.
#[track_caller]
fn check(folder: impl AsRef<Path>, args: &[&str], code: i32) -> String {
    let text = transcript(folder, args);
    assert!(text.ends_with(&format!("exit code {code}\n")), "{text}");
    text + "\n"
}

/// A folder with copies of fixtures, by their new names.
fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (fixture_name, name) in files {
        std::fs::copy(fixture(fixture_name), folder.path().join(name)).unwrap();
    }
    folder
}

fn digest(name: &str) -> String {
    let bytes = std::fs::read(fixture(name)).unwrap();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn exit_codes_are_0_for_pass_1_for_violation_and_2_for_undecided() {
    let mut shown = String::new();
    shown += &check(FIXTURES, &["linked", "static-pie"], 0);
    shown += &check(FIXTURES, &["stripped", "--debug-file", "stripped.debug", "-v"], 0);
    shown += &check(FIXTURES, &["packed-lzma", "--parent", "stripped", "--verbose"], 0);
    shown += &check(FIXTURES, &["no-stack-size"], 1);
    shown += &check(FIXTURES, &["linked", "--stage", "stripped"], 1);
    shown += &check(FIXTURES, &["stripped", "--stack-size", "4 MiB"], 1);
    shown += &check(FIXTURES, &["packed-nrv2b", "--parent", "static-pie"], 1);
    shown += &check(FIXTURES, &["packed-nrv2b"], 2);
    // A violation takes precedence over an undecided file.
    shown += &check(FIXTURES, &["no-stack-size", "no-such-file"], 1);
    insta::assert_snapshot!(shown);
}

#[test]
fn reports_unreadable_inputs_with_cause_and_hint() {
    let folder = folder_with(&[("start.c", "start.c"), ("linked", "linked")]);
    let bytes = std::fs::read(fixture("linked")).unwrap();
    std::fs::write(folder.path().join("truncated"), &bytes[..40]).unwrap();
    std::fs::write(folder.path().join("empty"), b"").unwrap();
    insta::assert_snapshot!(transcripts(
        &folder,
        &[
            &["no-such-file"],
            &["no-such-*"],
            &["@no-such-list"],
            &["start.c"],
            &["truncated"],
            &["empty"],
            &["linked", "--parent", "start.c", "--stage", "packed"],
            &["linked", "--policy", "no-such-policy"],
        ],
    ));
}

#[test]
fn reports_usage_errors() {
    insta::assert_snapshot!(transcripts(
        FIXTURES,
        &[
            &[],
            &["linked", "--stage", "sripped"],
            &["linked", "--stack-size", "8 MB"],
            &["linked", "--stack-size", "8"],
            &["linked", "stripped", "--parent", "linked"],
            &["linked", "--preset", "musl"],
            &["linked", "--report", "pdf=x"],
            &["linked", "--report", "x"],
            &["diff", "linked"],
            &["diff", "linked", "start.c"],
            &["packed-nrv2b", "--parent-sha256", "abc"],
        ],
    ));
}

#[test]
fn explains_rules_and_error_codes() {
    insta::assert_snapshot!(transcripts(
        FIXTURES,
        &[&["--explain", "stack-size"], &["--explain", "decompressed-limit"], &["--explain", "stack"]],
    ));
    insta::assert_snapshot!(transcripts(
        FIXTURES,
        &[
            &["--explain", "stack-size", "--format", "json"],
            &["--explain", "stack-size", "--format", "junit"],
        ],
    ));
}

#[test]
fn json_is_valid_for_every_failure() {
    let schema = format!("{}/../../schemas/elf-gate-report-1.schema.json", env!("CARGO_MANIFEST_DIR"));
    let schema: Value = serde_json::from_slice(&std::fs::read(schema).unwrap()).unwrap();
    let check = |args: &[&str], files: usize, codes: &[&str]| {
        let output = run(FIXTURES, args);
        let report: Value = serde_json::from_slice(&output.stdout).expect("valid JSON");
        jsonschema::validate(&schema, &report).unwrap_or_else(|error| panic!("{args:?}: {error}"));
        assert_eq!(report["files"].as_array().unwrap().len(), files, "{report}");
        let found: Vec<&str> =
            report["diagnostics"].as_array().unwrap().iter().map(|d| d["code"].as_str().unwrap()).collect();
        assert_eq!(found, codes, "{args:?}");
        let expected = if files > 0 && args.contains(&"no-stack-size") { 1 } else { 2 };
        assert_eq!(output.status.code(), Some(expected), "{report}");
    };
    check(&["--format", "json", "no-stack-size", "no-such-file", "start.c"], 3, &[]);
    check(&["--format", "json", "packed-nrv2b"], 1, &[]);
    check(&["--format", "json", "no-such-file"], 1, &[]);
    check(&["--format", "json", "linked", "--policy", "no-such-policy"], 0, &["unreadable"]);
    check(&["--format", "json", "linked", "--policy", "start.c"], 0, &["policy-syntax"]);
    check(&["--format", "json", "linked", "--preset", "musl"], 0, &["unknown-preset"]);
    check(&["--format", "json", "@no-such-list"], 0, &["unreadable"]);
    check(&["--format", "json", "--explain", "x"], 0, &["unknown-code"]);
    check(&["--format=json", "linked", "--stage", "sripped"], 0, &["gate-usage"]);
    check(&["diff", "--format", "json", "linked", "start.c"], 0, &["not-elf"]);
}

#[test]
fn uses_sidecar_files_and_names_them() {
    let mut shown = String::new();
    let folder = folder_with(&[
        ("packed-nrv2b", "tool"),
        ("stripped", "tool.unpacked"),
        ("stripped.debug", "stripped.debug"),
    ]);
    shown += &check(&folder, &["tool"], 0);
    shown += &check(&folder, &["tool.unpacked"], 0);
    // A sidecar file is judged like a file of a flag.
    std::fs::copy(fixture("static-pie"), folder.path().join("tool.unpacked")).unwrap();
    shown += &check(&folder, &["tool"], 1);
    insta::assert_snapshot!(shown);
}

#[test]
fn expands_folders_lists_patterns_and_archives() {
    let mut shown = String::new();
    let folder = folder_with(&[("static-pie", "b")]);
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::copy(fixture("linked"), at("sub/a")).unwrap();
    std::fs::write(at("notes.txt"), "text").unwrap();
    std::os::unix::fs::symlink("b", at("c")).unwrap();
    shown += &check(&folder, &["."], 0);
    shown += &check(&folder, &["sub/*"], 0);
    shown += &check(&folder, &["notes*"], 2);
    std::fs::write(at("list"), "b\nsub/a\n").unwrap();
    shown += &check(&folder, &["@list"], 0);
    shown += &check(&folder, &["b", "b"], 0);
    let stdin = std::fs::File::open(at("b")).unwrap();
    let output = command(&folder, &["-"]).stdin(stdin).output().unwrap();
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stdout), @"
    pass  (stdin)  stripped, 16.9 KiB, 20 rules passed
    policy: preset `static-musl` with a stack of 8 MiB, because no `gate-policy.toml` is beside the files
    pass  1 file: 1 passed, 0 failed, 0 undecided
    ");
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(at("b"), "bin/b").unwrap();
    archive.append_path_with_name(fixture("no-stack-size"), "bin/bad").unwrap();
    std::fs::write(at("release.tar"), archive.into_inner().unwrap()).unwrap();
    shown += &check(&folder, &["release.tar"], 1);
    let mut empty = tar::Builder::new(Vec::new());
    empty.append_path_with_name(at("notes.txt"), "notes.txt").unwrap();
    std::fs::write(at("empty.tar"), empty.into_inner().unwrap()).unwrap();
    shown += &check(&folder, &["empty.tar"], 2);
    insta::assert_snapshot!(shown);
}

#[test]
fn pairs_debug_files_with_their_programs() {
    let mut shown = String::new();
    let folder = folder_with(&[("stripped", "stripped"), ("stripped.debug", "stripped.debug")]);
    shown += &check(&folder, &["."], 0);
    shown += &check(FIXTURES, &["stripped.debug"], 0);
    let debug = folder.path().join("stripped.debug");
    let mut other = std::fs::read(&debug).unwrap();
    let id = other.windows(4).position(|window| window == b"GNU\0").unwrap() + 4;
    other[id] ^= 1;
    std::fs::write(&debug, other).unwrap();
    shown += &check(&folder, &["."], 1);
    shown += &check(FIXTURES, &["linked", "--stage", "debug"], 1);
    insta::assert_snapshot!(shown);
}

#[test]
fn a_packed_file_needs_its_parent() {
    let mut shown = String::new();
    shown += &check(FIXTURES, &["packed-nrv2b", "--parent-sha256", &digest("stripped")], 0);
    shown += &check(FIXTURES, &["packed-nrv2b", "--parent-sha256", &digest("linked")], 1);
    shown += &check(FIXTURES, &["packed-nrv2b", "--parent", "stripped"], 0);
    // The packed file equals its parent, and the parent violates a rule.
    shown += &check(FIXTURES, &["packed-no-stack-size", "--parent", "no-stack-size"], 1);
    // The header of the last block names a filter that changes nothing. UPX unpacks the file without an error.
    let folder = folder_with(&[("stripped", "stripped")]);
    let mut idle = std::fs::read(fixture("packed-nrv2e")).unwrap();
    assert_eq!(idle[567..571], 6000u32.to_le_bytes(), "the position of the last block changed");
    idle[567 + 9] = 0x49;
    std::fs::write(folder.path().join("idle-filter"), idle).unwrap();
    shown += &check(&folder, &["idle-filter", "--parent", "stripped"], 1);
    // An empty policy requires the round trip as well.
    std::fs::copy(fixture("packed-nrv2b"), folder.path().join("packed")).unwrap();
    std::fs::write(folder.path().join("p.toml"), "").unwrap();
    shown += &check(&folder, &["packed", "--policy", "p.toml"], 2);
    let reason = "[packed]\ncannot_tell = { round-trip = 'judged elsewhere' }";
    std::fs::write(folder.path().join("p.toml"), reason).unwrap();
    shown += &check(&folder, &["packed", "--policy", "p.toml"], 0);
    insta::assert_snapshot!(shown);
}

#[test]
fn reads_the_policy_of_a_release_and_reports_waivers_without_a_file() {
    // The symbols that a release requires change often.
    let output = run(FIXTURES, &["linked", "--policy", "../../release.toml", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["diagnostics"]), (Some(1), &Value::Array(Vec::new())));
    let outcomes = report["files"][0]["rules"].as_array().unwrap();
    let symbols = outcomes.iter().find(|outcome| outcome["rule"] == "required-symbols").unwrap();
    assert_eq!(symbols["verdict"], "violation", "{symbols}");
    let missing = symbols["found"].as_str().and_then(|found| found.strip_prefix("missing: ")).unwrap();
    assert!(missing.split(", ").any(|symbol| symbol == "cblas_sgemm"), "{symbols}");
    let mut shown = String::new();
    let folder = folder_with(&[("linked", "linked")]);
    let waiver =
        "[[every.waivers]]\nrule = 'not-packed'\nfile = 'old-*'\nreason = 'r'\nuntil = '2999-12-31'\n";
    std::fs::write(folder.path().join("p.toml"), waiver).unwrap();
    shown += &check(&folder, &["linked", "--policy", "p.toml"], 1);
    std::fs::write(folder.path().join("p.toml"), "[every]\nis_statik = true\nseverity = { x = 'note' }\n")
        .unwrap();
    insta::assert_snapshot!(transcript(&folder, &["linked", "--policy", "p.toml"]));
    insta::assert_snapshot!(shown);
}

#[test]
fn compares_sizes_with_a_baseline() {
    let mut shown = String::new();
    let folder = folder_with(&[("stripped", "stripped"), ("linked", "linked")]);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("p.toml", "[every]\ngrowth_percent_max = 10\n");
    let manifest = |bytes: u64| {
        let stages = format!("[{{\"stage\": \"stripped\", \"size_bytes\": {bytes}}}]");
        write(
            "m.json",
            &format!("{{\"product\": \"p\", \"version\": \"1\", \"target\": \"t\", \"stages\": {stages}}}"),
        );
    };
    let run = |code| check(&folder, &["stripped", "--policy", "p.toml", "--baseline", "m.json", "-v"], code);
    let size = std::fs::metadata(fixture("stripped")).unwrap().len();
    manifest(size);
    shown += &run(0);
    manifest(size / 2);
    shown += &run(1);
    write("m.json", "{}");
    shown += &run(2);
    shown += &check(&folder, &["stripped", "--policy", "p.toml"], 2);
    shown += &check(&folder, &["stripped", "--policy", "p.toml", "--baseline", "stripped"], 0);
    shown += &check(&folder, &["stripped", "linked", "--baseline", "stripped"], 2);
    shown += &check(&folder, &["stripped", "--baseline", "stripped"], 0);
    insta::assert_snapshot!(shown);
}

#[test]
fn writes_report_files_for_every_verdict() {
    let mut shown = String::new();
    let folder = folder_with(&[("no-stack-size", "no-stack-size"), ("linked", "linked")]);
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("summary.md"), "before\n").unwrap();
    let formats = ["json", "sarif", "junit", "github", "human"];
    for (args, code) in [(&["no-stack-size", "no-such-file"][..], 1), (&["linked", "--preset", "x"], 2)] {
        let mut command = command(&folder, args);
        command.env("GITHUB_STEP_SUMMARY", at("summary.md"));
        for format in formats {
            command.arg("--report").arg(format!("{format}=report.{format}"));
        }
        assert_eq!(command.output().unwrap().status.code(), Some(code));
        for format in formats {
            let report = at(&format!("report.{format}"));
            let written = std::fs::read_to_string(&report).unwrap();
            match format {
                "human" => shown += &written,
                // Each document is what the same run prints on stdout.
                _ => {
                    let printed = run(&folder, &[args, &["--format", format]].concat());
                    assert_eq!(written, String::from_utf8(printed.stdout).unwrap(), "{format}");
                }
            }
            std::fs::remove_file(report).unwrap();
        }
    }
    let page = std::fs::read_to_string(at("summary.md")).unwrap();
    insta::assert_snapshot!(page);
    let not_written = check(&folder, &["linked", "--report", "json=no/such/folder/x"], 2);
    // The system's message ends in the name of a temporary file.
    shown.extend(not_written.lines().map(|line| format!("{}\n", line.split(" at path ").next().unwrap())));
    insta::assert_snapshot!(shown);
}

#[test]
fn reports_image_rules_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let needy = image_archive::compiled(image_archive::NEEDY, folder.path());
    let archive = image_archive::archive(&[("/app", &needy)], &[], "/app");
    std::fs::write(folder.path().join("image.tar"), archive).unwrap();
    let policy = "[image]\nacknowledged = { image-zone-data = \"UTC only\" }\n";
    std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
    let mut rows = String::new();
    for format in ["human", "json", "sarif", "junit", "github"] {
        let args = ["image.tar", "--policy", "policy.toml", "--format", format];
        let output = run(&folder, &args);
        assert_eq!(output.status.code(), Some(1), "{format}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let of_rules = |rule: &str| text.lines().filter(|line| line.contains(rule)).count();
        let counts = ["image-ca-certificates", "image-zone-data", "image-resolver"].map(of_rules);
        rows += &format!("{format:<6} {counts:?}\n");
        if format == "sarif" || format == "json" {
            serde_json::from_str::<Value>(&text).unwrap();
        }
    }
    // Lines that name the rule: the acknowledged one is in every format too.
    insta::assert_snapshot!(rows);
    insta::assert_snapshot!(transcript(
        &folder,
        &["image.tar", "--policy", "policy.toml", "--format", "github"]
    ));
}

#[test]
fn diff_compares_two_files() {
    let mut shown = String::new();
    shown += &check(FIXTURES, &["diff", "linked", "stripped"], 0);
    let output = run(FIXTURES, &["diff", "linked", "stripped", "--format", "json"]);
    let diff: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(diff["sections"][".symtab"]["new"].is_null(), "{diff}");
    insta::assert_snapshot!(shown);
}
