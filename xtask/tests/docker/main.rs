//! `cargo xtask docker` with an engine that works, gives wrong answers, hangs or is missing, and with the real engine of
//! this machine. Snapshots show what a user reads on both streams.

mod fixture;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use fixture::{Fixture, manifest};
use oci_image::ImageFile;

#[test]
fn a_good_image_passes_and_its_removal_is_explained() {
    let fixture = Fixture::new().fake_engine("");
    insta::assert_snapshot!(fixture.run(&["--tag", "inferd:mine"]));
    let runs: String =
        fixture.calls().lines().filter(|call| call.starts_with("run ")).map(|c| format!("{c}\n")).collect();
    // Limits, ID and mount of both containers.
    insta::assert_snapshot!(fixture.redact(runs.as_bytes()));
}

/// One document in each case, with the same exit status as text.
#[test]
fn results_and_errors_are_data() {
    let json = |change: &str| {
        let fixture = Fixture::new().fake_engine(change);
        let run = fixture.run(&["--format", "json"]);
        assert_eq!(run.code, fixture.run(&[]).code, "{run}");
        let mut document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        for container in document["containers"].as_array_mut().unwrap() {
            assert!(container["seconds"].take().is_f64());
        }
        for diagnostic in document["diagnostics"].as_array_mut().unwrap() {
            assert!(diagnostic["hint"].take().is_string());
        }
        format!("exit code {}\n{document:#}\n", run.code)
    };
    insta::assert_snapshot!(json(""));
    insta::assert_snapshot!(json(r#"case "$*" in run*embed*) exit 137;; esac"#));
    insta::assert_snapshot!(json("exit 1"));
}

/// Before the engine is used there is nothing but errors.
#[test]
fn invalid_inputs_are_data() {
    let fixture = Fixture::new().fake_engine("");
    fs::remove_file(fixture.archive()).unwrap();
    let run = fixture.run(&["--format", "json"]);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &document["diagnostics"][0]["code"]), (2, &"docker-no-archive".into()));
}

#[test]
fn reports_an_unavailable_engine_with_the_next_step() {
    let changes = [
        "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1",
        "echo 'permission denied while trying to connect' >&2; exit 1",
        "exit 0",
    ];
    let runs = changes.map(|change| {
        let fixture = Fixture::new().fake_engine(change);
        let run = fixture.run(&[]);
        assert!(!fixture.calls().contains("load"), "{}", fixture.calls());
        run.to_string()
    });
    insta::assert_snapshot!(runs.join("\n"));
}

#[test]
fn reports_a_machine_without_docker() {
    let fixture = Fixture::new();
    let output = fixture.command(&[]).env("PATH", fixture.path("bin")).output().unwrap();
    insta::assert_snapshot!(fixture.finish(output));
}

const HANG: &str = r#"[ "$1" = run ] && exec sleep 60"#;

#[test]
fn removes_a_container_that_exceeds_its_time_limit() {
    let fixture = Fixture::new().fake_engine(HANG);
    let started = Instant::now();
    insta::assert_snapshot!(fixture.run(&["--timeout", "300 ms"]));
    assert!(started.elapsed() < Duration::from_secs(20));
    let calls = fixture.calls();
    assert!(calls.lines().any(|call| call.starts_with("rm --force muslin-selftest-")), "{calls}");
}

#[test]
fn names_a_container_that_cannot_be_removed() {
    let fixture = Fixture::new().fake_engine(&format!(r#"{HANG}; [ "$1" = rm ] && exit 1"#));
    insta::assert_snapshot!(fixture.run(&["--timeout", "300 ms"]));
}

#[test]
fn ctrl_c_removes_the_container() {
    let fixture = Fixture::new().fake_engine(HANG);
    let child = fixture
        .command(&[])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let started = Instant::now();
    while !fixture.calls().contains("run ") {
        assert!(started.elapsed() < Duration::from_secs(30), "{}", fixture.calls());
        std::thread::sleep(Duration::from_millis(10));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    insta::assert_snapshot!(fixture.finish(child.wait_with_output().unwrap()));
}

#[test]
fn a_failed_selftest_is_a_violation_and_embed_still_runs() {
    let fixture = Fixture::new().fake_engine(
        r#"case "$*" in run*selftest*) echo '{"ok":false,"checks":[{"name":"stack","verdict":"fail"}]}'; exit 1;; esac"#,
    );
    insta::assert_snapshot!(fixture.run(&[]));
}

#[test]
fn a_selftest_that_is_not_measured_is_not_a_pass() {
    let fixture = Fixture::new().fake_engine(
        r#"case "$*" in run*selftest*) echo '{"ok":false,"checks":[{"name":"stack","verdict":"not-measured"}]}'; exit 2;; esac"#,
    );
    assert_eq!(fixture.run(&[]).code, 2);
}

#[test]
fn a_vector_of_another_dimension_is_a_violation() {
    let fixture = Fixture::new().fake_engine("");
    fixture.write_model_file("config.json", r#"{"hidden_size":384}"#);
    insta::assert_snapshot!(fixture.run(&[]));
    // A dense layer changes the dimension.
    fixture.write_model_file("modules.json", r#"[{"type":"sentence_transformers.models.Dense"}]"#);
    assert_eq!(fixture.run(&[]).code, 0);
}

#[test]
fn a_container_killed_for_its_memory_is_a_violation() {
    let fixture = Fixture::new().fake_engine(r#"case "$*" in run*embed*) exit 137;; esac"#);
    insta::assert_snapshot!(fixture.run(&[]));
}

#[test]
fn an_engine_that_cannot_run_or_limit_a_container_is_no_violation() {
    let fixture =
        Fixture::new().fake_engine(r#"[ "$1" = run ] && { echo "docker: no space left" >&2; exit 125; }"#);
    insta::assert_snapshot!(fixture.run(&[]));
    let fixture = Fixture::new().fake_engine(
        r#"[ "$1" = run ] && echo "WARNING: Your kernel does not support memory limit capabilities. Limitation discarded." >&2"#,
    );
    insta::assert_snapshot!(fixture.run(&[]));
}

#[test]
fn quotes_a_load_that_fails() {
    let fixture = Fixture::new().fake_engine(r#"[ "$1" = load ] && { echo "unexpected EOF" >&2; exit 1; }"#);
    insta::assert_snapshot!(fixture.run(&[]));
}

#[test]
fn another_image_under_the_reference_is_a_violation() {
    let fixture = Fixture::new().fake_engine(
        r#"[ "$1" = image ] && [ -e "$(dirname "$0")/../loaded" ] && { echo sha256:other; exit; }"#,
    );
    insta::assert_snapshot!(fixture.run(&[]));
    assert!(!fixture.calls().contains("run "));
}

#[test]
fn accepts_a_store_that_identifies_images_by_manifest() {
    let fixture = Fixture::new();
    let answer = format!(
        r#"[ "$1" = image ] && [ -e "$(dirname "$0")/../loaded" ] && {{ echo {}; exit; }}"#,
        fixture.image.manifest_digest()
    );
    insta::assert_snapshot!(fixture.fake_engine(&answer).run(&[]));
}

#[test]
fn lists_an_image_that_lost_its_reference() {
    let fixture = Fixture::new().fake_engine(
        r#"[ "$1" = image ] && [ ! -e "$(dirname "$0")/../loaded" ] && { echo sha256:old; exit; }"#,
    );
    insta::assert_snapshot!(fixture.run(&[]));
}

#[test]
fn reports_invalid_inputs_together_before_it_uses_the_engine() {
    let fixture = Fixture::new().fake_engine("");
    fs::write(fixture.archive(), &fs::read(fixture.archive()).unwrap()[..2000]).unwrap();
    fs::remove_file(fixture.path("model/config.json")).unwrap();
    let mut runs = vec![fixture.run(&[]).to_string()];
    fs::remove_file(fixture.archive()).unwrap();
    runs.push(fixture.run(&[]).to_string());
    fs::remove_dir(fixture.path("dist")).unwrap();
    runs.push(fixture.run(&[]).to_string());
    insta::assert_snapshot!(runs.join("\n"));
    assert_eq!(fixture.calls(), "");
}

#[test]
fn rejects_two_archives_without_a_manifest() {
    let fixture = Fixture::new().fake_engine("");
    fs::copy(fixture.archive(), fixture.path("dist/other.docker.tar")).unwrap();
    insta::assert_snapshot!(fixture.run(&[]));
}

#[test]
fn rejects_a_model_that_a_container_cannot_read() {
    let fixture = Fixture::new().fake_engine("");
    let weights = fixture.path("model/model.safetensors");
    fs::write(&weights, "").unwrap();
    fs::set_permissions(&weights, fs::Permissions::from_mode(0o600)).unwrap();
    let mut runs = vec![fixture.run(&[]).to_string()];

    fs::remove_file(&weights).unwrap();
    symlink(fixture.archive(), &weights).unwrap();
    runs.push(fixture.run(&[]).to_string());

    fs::remove_file(&weights).unwrap();
    symlink("config.json", &weights).unwrap();
    assert_eq!(fixture.run(&[]).code, 0, "a link inside the folder");
    fs::set_permissions(fixture.path("model"), fs::Permissions::from_mode(0o700)).unwrap();
    runs.push(fixture.run(&[]).to_string());
    insta::assert_snapshot!(runs.join("\n"));
}

#[test]
fn the_archive_must_be_the_one_of_the_manifest() {
    let fixture = Fixture::new().fake_engine("");
    fs::copy(fixture.archive(), fixture.path("dist/older.docker.tar")).unwrap();
    manifest(&fixture, |_| {});
    let run = fixture.run(&[]);
    assert_eq!(run.code, 0, "{run}");
    // Without a warning.
    let mut runs = vec![run.to_string()];
    for field in ["reference", "manifest_digest", "image_id", "binary_sha256"] {
        manifest(&fixture, |value| value["image"][field] = "0000".into());
        runs.push(fixture.run(&[]).to_string());
        manifest(&fixture, |value| drop(value["image"].as_object_mut().unwrap().remove(field)));
        runs.push(fixture.run(&[]).to_string());
    }
    fs::write(fixture.path("dist/dist-manifest.json"), "{").unwrap();
    runs.push(fixture.run(&[]).to_string());
    insta::assert_snapshot!(runs.join("\n"));
}

/// A static program that answers like `inferd` if user, root file system and model mount are as the image requires.
const PROGRAM: &str = r#"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **arguments) {
    if (count < 2) return 2;
    if (!strcmp(arguments[1], "selftest")) {
        int user = getuid() == 65532 && getgid() == 65532, read_only = fopen("/written", "w") == NULL;
        const char *verdict = user && read_only ? "pass" : "fail";
        printf("{\"ok\":%s,\"checks\":[{\"name\":\"user and root\",\"verdict\":\"%s\"}]}\n",
               user && read_only ? "true" : "false", verdict);
        return !(user && read_only);
    }
    if (!fopen("/model/config.json", "r")) return perror("/model/config.json"), 2;
    if (fopen("/model/written", "w")) return fputs("the model can be written\n", stderr), 2;
    puts("{\"index\":0,\"embedding\":[0.25,-0.5]}");
    return 0;
}
"#;

#[expect(clippy::disallowed_methods, reason = "inputs of tests are variables")]
fn static_program(folder: &Path) -> PathBuf {
    let (source, program) = (folder.join("program.c"), folder.join("program"));
    fs::write(&source, PROGRAM).unwrap();
    // `cargo xtask test` sets the musl compiler; the system compiler can link statically too.
    let compiler = std::env::var("MUSLIN_CC").unwrap_or_else(|_| "cc".into());
    let compiled =
        Command::new(&compiler).arg("-static").arg("-o").arg(&program).arg(&source).output().unwrap();
    assert!(compiled.status.success(), "{compiler}: {}", String::from_utf8_lossy(&compiled.stderr));
    program
}

/// With an engine the image is loaded and run; without one the verb must report that.
#[test]
fn runs_the_image_in_the_real_engine() {
    let folder = tempfile::tempdir().unwrap();
    let reference = format!("muslin-test:{}", std::process::id());
    let fixture = Fixture::with_program(
        ImageFile::from_source("/inferd", 0o555, static_program(folder.path())),
        &reference,
    );
    fs::set_permissions(fixture.path("model"), fs::Permissions::from_mode(0o755)).unwrap();
    let docker = |arguments: &[&str]| Command::new("docker").args(arguments).output();
    let is_available = docker(&["version"]).is_ok_and(|output| output.status.success());
    let child = fixture
        .command(&[])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let process = child.id();
    let run = fixture.finish(child.wait_with_output().unwrap());
    if !is_available {
        assert_eq!(run.code, 2, "{run}");
        assert!(run.stderr.contains("error[docker-engine-unavailable]"), "{run}");
        return;
    }
    let removed = docker(&["rmi", &reference]).unwrap();
    assert_eq!(run.code, 0, "{run}");
    assert!(run.stderr.contains(&format!("docker rmi {reference}")), "{run}");
    assert!(removed.status.success(), "the printed command works");
    let names = docker(&["ps", "--all", "--format", "{{.Names}}"]).unwrap();
    let names = String::from_utf8(names.stdout).unwrap();
    assert!(!names.contains(&format!("-{process}\n")), "{names}");
}
