//! `verify-elf` as a user meets it: exit codes, one clear error for each bad input, JSON that is always whole.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/elf").join(name)
}

fn run(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("verify-elf").env_remove("GITHUB_STEP_SUMMARY");
    for arg in args {
        // `@name` is a fixture, `@@name` is `@name`.
        match (arg.strip_prefix("@@"), arg.strip_prefix('@')) {
            (Some(name), _) => command.arg(format!("@{name}")),
            (_, Some(name)) => command.arg(fixture(name)),
            _ => command.arg(arg),
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
    check(&["@stripped", "--debug-file", "@stripped.debug", "-v"], 0, "debug-file-matches");
    check(&["@packed-lzma", "--parent", "@stripped", "--verbose"], 0, "on both sides");
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
    check(&["no-such-*"], 2, "as a pattern it matches nothing");
    check(&["@@no-such-list"], 2, "cannot read the list `no-such-list`: No such file");
    check(&["@start.c"], 2, "not an ELF file: expected `7f 45 4c 46` at offset 0");
    check(&["@linked", "--parent", "@start.c", "--stage", "packed"], 2, "parent: `");
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
    check(
        &["@linked", "--stage", "sripped"],
        2,
        "there are `object`, `linked`, `stripped`, `debug`, `packed`",
    );
    check(&["@linked", "--stack-size", "8 MB"], 2, "unknown unit `MB`");
    check(&["@linked", "@stripped", "--parent", "@linked"], 2, "belong to one file");
    check(&["--explain", "inner-stack-size"], 0, "would have stopped");
    check(&["@linked", "--preset", "musl"], 2, "no preset `musl`: there are `static-musl`");
    check(&["@linked", "--report", "pdf=x"], 2, "unknown format `pdf`");
    check(&["@linked", "--report", "x"], 2, "expected FORMAT=PATH");
    check(&["diff", "@linked"], 2, "required");
    check(&["diff", "@linked", "@start.c"], 2, "not an ELF file");
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

#[test]
fn what_lies_beside_is_found_and_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::copy(fixture("packed-nrv2b"), at("tool")).unwrap();
    std::fs::copy(fixture("stripped"), at("tool.unpacked")).unwrap();
    std::fs::copy(fixture("stripped.debug"), at("stripped.debug")).unwrap();
    let tool = at("tool").display().to_string();
    check(&[&tool], 0, "tool.unpacked`, found beside it");
    check(&[&at("tool.unpacked").display().to_string()], 0, "stripped.debug`, found beside it");
    // What lies beside is judged as sharply as what is named.
    std::fs::copy(fixture("static-pie"), at("tool.unpacked")).unwrap();
    check(&[&tool], 1, "round-trip");
}

#[test]
fn folders_lists_patterns_and_streams() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("sub")).unwrap();
    std::fs::copy(fixture("linked"), at("sub/a")).unwrap();
    std::fs::copy(fixture("static-pie"), at("b")).unwrap();
    std::fs::write(at("notes.txt"), "no program").unwrap();
    std::os::unix::fs::symlink("b", at("c")).unwrap();
    let path = |name: &str| at(name).display().to_string();
    let whole = folder.path().display().to_string();
    check(
        &[&whole],
        0,
        "2 files: 2 passed, 0 in violation, 0 not decided; 1 skipped, not ELF; 1 name seen before",
    );
    check(&[&path("sub/*")], 0, "1 file: 1 passed");
    check(&[&path("notes*")], 2, "no ELF file was found, so nothing was judged; 1 other file");
    std::fs::write(at("list"), format!("{}\n{}\n", path("b"), path("sub/a"))).unwrap();
    check(&[&format!("@@{}", path("list"))], 0, "2 files: 2 passed");
    // Named twice is judged once.
    check(&[&path("b"), &path("b")], 0, "1 file: 1 passed");
    let stdin = std::fs::File::open(at("b")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let output = command.args(["verify-elf", "-"]).stdin(stdin).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("pass  (stdin)"));
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_path_with_name(at("b"), "bin/b").unwrap();
    archive.append_path_with_name(fixture("no-stack-size"), "bin/bad").unwrap();
    std::fs::write(at("release.tar"), archive.into_inner().unwrap()).unwrap();
    check(&[&path("release.tar")], 1, "release.tar!bin/bad");
    let mut empty = tar::Builder::new(Vec::new());
    empty.append_path_with_name(at("notes.txt"), "notes.txt").unwrap();
    std::fs::write(at("empty.tar"), empty.into_inner().unwrap()).unwrap();
    check(&[&path("empty.tar")], 2, "no ELF file in this tar file");
}

/// A debug file beside its program, beside that of another build, and alone.
#[test]
fn debug_files_belong_to_a_program() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    std::fs::copy(fixture("stripped"), path("stripped")).unwrap();
    std::fs::copy(fixture("stripped.debug"), path("stripped.debug")).unwrap();
    let all = folder.path().to_str().unwrap();
    check(&[all], 0, &format!("note: debug file of `{}`, build-id", path("stripped")));
    check(&["@stripped.debug"], 0, "its program is not among the inputs");
    let mut other = std::fs::read(path("stripped.debug")).unwrap();
    let id = other.windows(4).position(|window| window == b"GNU\0").unwrap() + 4;
    other[id] ^= 1;
    std::fs::write(path("stripped.debug"), other).unwrap();
    check(&[all], 1, "debug-file-owner");
    check(&[all], 1, "debug-file-matches");
    check(&["@linked", "--stage", "debug"], 1, "debug-information");
}

#[test]
fn a_packed_file_needs_its_parent() {
    let digest = |name: &str| {
        use sha2::Digest;
        let bytes = std::fs::read(fixture(name)).unwrap();
        sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    check(&["@packed-nrv2b", "--parent-sha256", &digest("stripped")], 0, "1 passed");
    check(&["@packed-nrv2b", "--parent-sha256", &digest("linked")], 1, "round-trip");
    check(&["@packed-nrv2b", "--parent-sha256", "abc"], 2, "64 hexadecimal digits");
    check(&["@packed-nrv2b", "--parent", "@stripped"], 0, "judged as the parent of");
    // Equal to its parent, and the parent breaks a rule of its own.
    check(&["@packed-no-stack-size", "--parent", "@no-stack-size"], 1, "2 in violation");
    // The last block of packed-nrv2e names the filter for calls, and has none. UPX unpacks that without a word.
    let folder = tempfile::tempdir().unwrap();
    let mut idle = std::fs::read(fixture("packed-nrv2e")).unwrap();
    assert_eq!(idle[567..571], 6000u32.to_le_bytes(), "the last block is somewhere else");
    idle[567 + 9] = 0x49;
    let path = folder.path().join("idle-filter");
    std::fs::write(&path, idle).unwrap();
    check(&[path.to_str().unwrap(), "--parent", "@stripped"], 1, "changes nothing in it");
    // A policy that demands nothing else demands this.
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("p.toml");
    let policy_name = policy.to_str().unwrap();
    std::fs::write(&policy, "").unwrap();
    check(&["@packed-nrv2b", "--policy", policy_name], 2, "no parent given");
    std::fs::write(&policy, "[packed]\ncannot_tell = { round-trip = 'judged elsewhere' }").unwrap();
    check(&["@packed-nrv2b", "--policy", policy_name], 0, "waived: judged elsewhere");
}

#[test]
fn policies_of_a_release_and_waivers_of_no_file() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../release.toml");
    check(&["@linked", "--policy", root], 1, "cblas_sgemm");
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("p.toml");
    let waiver =
        "[[every.waivers]]\nrule = 'not-packed'\nfile = 'old-*'\nreason = 'r'\nuntil = '2999-12-31'\n";
    std::fs::write(&policy, waiver).unwrap();
    check(&["@linked", "--policy", policy.to_str().unwrap()], 1, "names `old-*`, which is none of the files");
}

#[test]
fn growth_against_the_release_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    std::fs::write(path("p.toml"), "[every]\ngrowth_percent_max = 10\n").unwrap();
    let manifest = |bytes: u64| {
        let stages = format!("[{{\"stage\": \"stripped\", \"size_bytes\": {bytes}}}]");
        let text =
            format!("{{\"product\": \"p\", \"version\": \"1\", \"target\": \"t\", \"stages\": {stages}}}");
        std::fs::write(path("manifest.json"), text).unwrap();
    };
    let (policy, previous) = (path("p.toml"), path("manifest.json"));
    let run = |code, expected: &str| {
        check(&["@stripped", "--policy", &policy, "--previous", &previous, "-v"], code, expected);
    };
    let size = std::fs::metadata(fixture("stripped")).unwrap().len();
    manifest(size);
    run(0, "size-growth");
    manifest(size / 2);
    run(1, "at most 10 % more than");
    std::fs::write(path("manifest.json"), "{}").unwrap();
    run(2, "is no manifest of a release");
    check(&["@stripped", "--policy", &policy], 2, "no previous size");
    check(&["@stripped", "--policy", &policy, "--previous", "@stripped"], 0, "1 passed");
    check(&["@stripped", "@linked", "--previous", "@stripped"], 2, "--previous names one file");
    check(&["@stripped", "--previous", "@stripped"], 0, "--previous is not used");
}

#[test]
fn reports_are_written_whatever_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let summary = at("summary.md");
    std::fs::write(&summary, "before\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("verify-elf").env("GITHUB_STEP_SUMMARY", &summary);
    for format in ["json", "sarif", "junit", "github", "human"] {
        command.arg("--report").arg(format!("{format}={}", at(format).display()));
    }
    let output = command.arg(fixture("no-stack-size")).arg("no-such-file").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    for (format, expected) in [
        ("json", "\"schema_version\": 1"),
        ("sarif", "\"version\": \"2.1.0\""),
        ("junit", "<testsuites name=\"elf-gate\""),
        ("github", "::error file="),
        ("human", "FAIL  2 files"),
    ] {
        let text = std::fs::read_to_string(at(format)).unwrap();
        assert!(text.contains(expected), "{text}");
    }
    let page = std::fs::read_to_string(&summary).unwrap();
    assert!(page.starts_with("before\n## ELF gate: violation"), "{page}");
    let missing = at("no/such/folder/x").display().to_string();
    check(&["@linked", "--report", &format!("json={missing}")], 2, "cannot write the report");
}

#[test]
fn what_changed_between_two_files() {
    check(&["diff", "@linked", "@stripped"], 0, ".debug_line");
    let output = run(&["diff", "@linked", "@stripped", "--format", "json"]);
    let diff: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(diff["sections"][".symtab"]["new"].is_null(), "{diff}");
}
