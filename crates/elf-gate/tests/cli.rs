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

#[track_caller]
fn check(folder: impl AsRef<Path>, args: &[&str], code: i32, expected: &str) {
    let text = transcript(folder, args);
    assert!(text.ends_with(&format!("exit code {code}\n")), "{text}");
    assert!(text.contains(expected), "`{expected}` in {text}");
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
    check(FIXTURES, &["linked", "static-pie"], 0, "2 files: 2 passed");
    check(FIXTURES, &["stripped", "--debug-file", "stripped.debug", "-v"], 0, "debug-file-matches");
    check(FIXTURES, &["packed-lzma", "--parent", "stripped", "--verbose"], 0, "equal sha256");
    check(FIXTURES, &["no-stack-size"], 1, "stack-size");
    check(FIXTURES, &["linked", "--stage", "stripped"], 1, "stripped");
    check(FIXTURES, &["stripped", "--stack-size", "4 MiB"], 1, "4194304 bytes (4 MiB)");
    check(FIXTURES, &["packed-nrv2b", "--parent", "static-pie"], 1, "round-trip");
    check(FIXTURES, &["packed-nrv2b"], 2, "pass the stripped file with `--parent FILE`");
    // A violation takes precedence over an undecided file.
    check(FIXTURES, &["no-stack-size", "no-such-file"], 1, "1 failed, 1 undecided");
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
    let folder = folder_with(&[
        ("packed-nrv2b", "tool"),
        ("stripped", "tool.unpacked"),
        ("stripped.debug", "stripped.debug"),
    ]);
    check(&folder, &["tool"], 0, "tool.unpacked`, found next to the file");
    check(&folder, &["tool.unpacked"], 0, "stripped.debug`, found next to the file");
    // A sidecar file is judged like a file of a flag.
    std::fs::copy(fixture("static-pie"), folder.path().join("tool.unpacked")).unwrap();
    check(&folder, &["tool"], 1, "round-trip");
}

#[test]
fn expands_folders_lists_patterns_and_archives() {
    let folder = folder_with(&[("static-pie", "b")]);
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::copy(fixture("linked"), at("sub/a")).unwrap();
    std::fs::write(at("notes.txt"), "text").unwrap();
    std::os::unix::fs::symlink("b", at("c")).unwrap();
    check(
        &folder,
        &["."],
        0,
        "2 files: 2 passed, 0 failed, 0 undecided; 1 skipped (not ELF); 1 duplicate name",
    );
    check(&folder, &["sub/*"], 0, "1 file: 1 passed");
    check(&folder, &["notes*"], 2, "no ELF file was found; 1 other file was skipped");
    std::fs::write(at("list"), "b\nsub/a\n").unwrap();
    check(&folder, &["@list"], 0, "2 files: 2 passed");
    check(&folder, &["b", "b"], 0, "1 file: 1 passed");
    let stdin = std::fs::File::open(at("b")).unwrap();
    let output = command(&folder, &["-"]).stdin(stdin).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("pass  (stdin)"));
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(at("b"), "bin/b").unwrap();
    archive.append_path_with_name(fixture("no-stack-size"), "bin/bad").unwrap();
    std::fs::write(at("release.tar"), archive.into_inner().unwrap()).unwrap();
    check(&folder, &["release.tar"], 1, "release.tar!bin/bad");
    let mut empty = tar::Builder::new(Vec::new());
    empty.append_path_with_name(at("notes.txt"), "notes.txt").unwrap();
    std::fs::write(at("empty.tar"), empty.into_inner().unwrap()).unwrap();
    check(&folder, &["empty.tar"], 2, "the tar file contains no ELF file");
}

#[test]
fn pairs_debug_files_with_their_programs() {
    let folder = folder_with(&[("stripped", "stripped"), ("stripped.debug", "stripped.debug")]);
    check(&folder, &["."], 0, "note: debug file of `./stripped`, build-id");
    check(FIXTURES, &["stripped.debug"], 0, "its program is not among the inputs");
    let debug = folder.path().join("stripped.debug");
    let mut other = std::fs::read(&debug).unwrap();
    let id = other.windows(4).position(|window| window == b"GNU\0").unwrap() + 4;
    other[id] ^= 1;
    std::fs::write(&debug, other).unwrap();
    check(&folder, &["."], 1, "debug-file-program");
    check(&folder, &["."], 1, "debug-file-matches");
    check(FIXTURES, &["linked", "--stage", "debug"], 1, "debug-information");
}

#[test]
fn a_packed_file_needs_its_parent() {
    check(FIXTURES, &["packed-nrv2b", "--parent-sha256", &digest("stripped")], 0, "1 passed");
    check(FIXTURES, &["packed-nrv2b", "--parent-sha256", &digest("linked")], 1, "round-trip");
    check(FIXTURES, &["packed-nrv2b", "--parent", "stripped"], 0, "judged as the parent of");
    // The packed file equals its parent, and the parent violates a rule.
    check(FIXTURES, &["packed-no-stack-size", "--parent", "no-stack-size"], 1, "2 failed");
    // The header of the last block names a filter that changes nothing. UPX unpacks the file without an error.
    let folder = folder_with(&[("stripped", "stripped")]);
    let mut idle = std::fs::read(fixture("packed-nrv2e")).unwrap();
    assert_eq!(idle[567..571], 6000u32.to_le_bytes(), "the position of the last block changed");
    idle[567 + 9] = 0x49;
    std::fs::write(folder.path().join("idle-filter"), idle).unwrap();
    check(&folder, &["idle-filter", "--parent", "stripped"], 1, "changes nothing in it");
    // An empty policy requires the round trip as well.
    std::fs::copy(fixture("packed-nrv2b"), folder.path().join("packed")).unwrap();
    std::fs::write(folder.path().join("p.toml"), "").unwrap();
    check(&folder, &["packed", "--policy", "p.toml"], 2, "no parent");
    let reason = "[packed]\ncannot_tell = { round-trip = 'judged elsewhere' }";
    std::fs::write(folder.path().join("p.toml"), reason).unwrap();
    check(&folder, &["packed", "--policy", "p.toml"], 0, "waived: judged elsewhere");
}

#[test]
fn reads_the_policy_of_a_release_and_reports_waivers_without_a_file() {
    let release = concat!(env!("CARGO_MANIFEST_DIR"), "/../../release.toml");
    check(FIXTURES, &["linked", "--policy", release], 1, "cblas_sgemm");
    let folder = folder_with(&[("linked", "linked")]);
    let waiver =
        "[[every.waivers]]\nrule = 'not-packed'\nfile = 'old-*'\nreason = 'r'\nuntil = '2999-12-31'\n";
    std::fs::write(folder.path().join("p.toml"), waiver).unwrap();
    check(&folder, &["linked", "--policy", "p.toml"], 1, "names `old-*`, which matches no file");
    std::fs::write(folder.path().join("p.toml"), "[every]\nis_statik = true\nseverity = { x = 'note' }\n")
        .unwrap();
    insta::assert_snapshot!(transcript(&folder, &["linked", "--policy", "p.toml"]));
}

#[test]
fn compares_sizes_with_a_baseline() {
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
    let run = |code, expected: &str| {
        check(&folder, &["stripped", "--policy", "p.toml", "--baseline", "m.json", "-v"], code, expected);
    };
    let size = std::fs::metadata(fixture("stripped")).unwrap().len();
    manifest(size);
    run(0, "size-growth");
    manifest(size / 2);
    run(1, "at most 10 % more than");
    write("m.json", "{}");
    run(2, "the baseline is not the manifest of a release");
    check(&folder, &["stripped", "--policy", "p.toml"], 2, "no baseline");
    check(&folder, &["stripped", "--policy", "p.toml", "--baseline", "stripped"], 0, "1 passed");
    check(&folder, &["stripped", "linked", "--baseline", "stripped"], 2, "`--baseline` applies to one file");
    check(&folder, &["stripped", "--baseline", "stripped"], 0, "--baseline has no effect");
}

#[test]
fn writes_report_files_for_every_verdict() {
    let folder = folder_with(&[("no-stack-size", "no-stack-size"), ("linked", "linked")]);
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("summary.md"), "before\n").unwrap();
    let formats = [
        ("json", "\"schema_version\": 1"),
        ("sarif", "\"version\": \"2.1.0\""),
        ("junit", "<testsuites name=\"elf-gate\""),
        ("github", "::error "),
        ("human", "0 passed"),
    ];
    for (args, code) in [(&["no-stack-size", "no-such-file"][..], 1), (&["linked", "--preset", "x"], 2)] {
        let mut command = command(&folder, args);
        command.env("GITHUB_STEP_SUMMARY", at("summary.md"));
        for (format, _) in formats {
            command.arg("--report").arg(format!("{format}=report.{format}"));
        }
        assert_eq!(command.output().unwrap().status.code(), Some(code));
        for (format, expected) in formats {
            let report = at(&format!("report.{format}"));
            let text = std::fs::read_to_string(&report).unwrap();
            assert!(text.contains(expected), "{text}");
            std::fs::remove_file(report).unwrap();
        }
    }
    let page = std::fs::read_to_string(at("summary.md")).unwrap();
    assert!(
        page.starts_with("before\n## ELF gate: violation") && page.contains("`unknown-preset`"),
        "{page}"
    );
    check(&folder, &["linked", "--report", "json=no/such/folder/x"], 2, "cannot write the report");
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
    check(FIXTURES, &["diff", "linked", "stripped"], 0, ".debug_line");
    let output = run(FIXTURES, &["diff", "linked", "stripped", "--format", "json"]);
    let diff: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(diff["sections"][".symtab"]["new"].is_null(), "{diff}");
}
