//! A second product through every stage: `cargo xtask dist --workspace fixtures/workspace`. It has no vendored library, and
//! nothing of the first product may be in its manifest.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

fn dist(dist_dir: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/workspace");
    command
        .args(["dist", "--quiet", "--workspace"])
        .arg(workspace)
        .arg("--dist-dir")
        .arg(dist_dir)
        .args(more);
    // Variables of the cargo that runs this test would change the build of the fixture.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "GIT_DIR", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

fn names<'a>(list: &'a serde_json::Value, key: &str) -> BTreeSet<&'a str> {
    list.as_array().unwrap().iter().map(|one| one[key].as_str().unwrap()).collect()
}

#[test]
fn a_product_without_vendored_libraries_goes_through_every_stage() {
    let folder = tempfile::tempdir().unwrap();
    let output = dist(folder.path(), &["--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let manifest: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();

    assert_eq!((&manifest["product"], &manifest["version"]), (&"tally".into(), &"1.2.3".into()));
    assert_eq!(manifest["stack_size_bytes"], 4 << 20);
    assert_eq!(manifest["native"], serde_json::json!([]));
    assert_eq!(names(&manifest["stages"], "stage"), BTreeSet::from(["linked", "stripped", "packed"]));
    assert!(manifest["mutants"]["mutants"].as_array().unwrap().len() > 50);
    let proofs = names(&manifest["proofs"], "name");
    for proof in ["isolated", "no-proc", "thread-stack", "version", "sum", "usage", "check", "check sum"] {
        assert!(proofs.contains(proof), "no proof `{proof}` among {proofs:?}");
    }
    assert_eq!(manifest["image"]["reference"], "example/tally:1.2.3");
    assert_eq!(manifest["image"]["variant"], "unpacked");
    let text = String::from_utf8(output.stdout).unwrap();
    for foreign in ["inferd", "openblas", "mimalloc", "tiny-bert"] {
        assert!(!text.contains(foreign), "`{foreign}` is in the manifest of another product");
    }

    let program = folder.path().join("tally-1.2.3-x86_64-unknown-linux-musl");
    let sum = Command::new(program).args(["sum", "1", "2"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&sum.stdout), "{\"count\": 2, \"sum\": 3}\n");
}

/// The proofs that do not hold after a change of release.toml, and the exit status.
fn violated(from: &str, to: &str) -> (Vec<String>, Option<i32>) {
    let folder = tempfile::tempdir().unwrap();
    let good = include_str!("../../fixtures/workspace/release.toml");
    assert!(good.contains(from), "the anchor `{from}` is gone");
    let config = folder.path().join("release.toml");
    std::fs::write(&config, good.replacen(from, to, 1)).unwrap();
    let output = dist(&folder.path().join("dist"), &["--config", config.to_str().unwrap()]);
    assert!(!folder.path().join("dist/dist-manifest.json").exists());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let name = |line: &str| {
        let name =
            line.strip_prefix("error[proof-violated]: the proof `")?.strip_suffix("` does not hold")?;
        Some(name.to_string())
    };
    (stderr.lines().filter_map(name).collect(), output.status.code())
}

#[test]
fn a_broken_promise_of_the_product_ends_the_release_with_status_1() {
    assert_eq!(violated("exit_code = 2", "exit_code = 3"), (vec!["usage".into()], Some(1)));
}

/// A program that needs a writable folder, a network or `/proc` passes everywhere but where these are absent.
#[test]
fn isolated_starts_have_no_writable_folder_no_network_and_no_proc() {
    for (argument, expected) in [
        ("write", &["isolated", "no-proc"][..]),
        ("connect", &["isolated", "no-proc"]),
        ("proc", &["no-proc"]),
    ] {
        let change = format!("timeout = \"20 s\"\nstart_args = [\"{argument}\"]\nstart_contains = \"\"");
        let (names, status) = violated("timeout = \"20 s\"", &change);
        assert_eq!(
            (names, status),
            (expected.iter().map(ToString::to_string).collect(), Some(1)),
            "{argument}"
        );
    }
}
