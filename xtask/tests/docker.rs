//! `cargo xtask docker` as its user meets it: with an engine that works, lies, hangs or is not there, and with the real
//! engine of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use oci_image::{Image, ImageFile, ImageSpec};
use serde_json::json;
use tempfile::TempDir;

/// A `dist/`, a model folder, and a folder for a `docker` of our own.
struct Scene {
    folder: TempDir,
    image: Image,
}

impl Scene {
    fn new() -> Self {
        Self::with_program(ImageFile::from_bytes("/inferd", 0o555, "stands for a program"), "inferd:0.1.0")
    }

    fn with_program(program: ImageFile, reference: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["dist", "model", "bin"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("model/config.json"), "{}").unwrap();
        let image = Image::build(&ImageSpec {
            files: vec![program],
            entrypoint: vec!["/inferd".into()],
            cmd: vec![],
            env: vec![],
            user: "65532:65532".into(),
            workdir: "/".into(),
            labels: BTreeMap::new(),
            exposed_ports: vec![],
            architecture: if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.into(),
            created_unix_seconds: 0,
            reference: reference.into(),
        })
        .unwrap();
        let scene = Self { folder, image };
        let mut archive = Vec::new();
        scene.image.write_docker_tar(&mut archive).unwrap();
        fs::write(scene.archive(), archive).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.path("dist/inferd-0.1.0-x.docker.tar")
    }

    /// A `docker` that answers as the real one does; `change` is shell code that runs first and may answer instead.
    fn fake_engine(self, change: &str) -> Self {
        let path = self.path("bin/docker");
        let script = format!(
            r#"#!/bin/sh
echo "$*" >> {calls}
{change}
case "$1" in
  version) echo 20.10.24 ;;
  image) if [ -e {loaded} ]; then echo {id}; else echo "Error: No such image: x" >&2; exit 1; fi ;;
  load) : > {loaded}; echo "Loaded image" ;;
  tag) ;;
  rm) echo "$3" ;;
  run)
    case "$*" in
      *" selftest --json") echo '{{"ok":true,"checks":[{{"name":"a","verdict":"pass"}}]}}' ;;
      *" embed --model /model -- hello") echo '{{"index":0,"embedding":[0.5]}}' ;;
      *) echo "unexpected: $*" >&2; exit 2 ;;
    esac ;;
  *) echo "unexpected: $*" >&2; exit 2 ;;
esac
"#,
            calls = self.path("calls").display(),
            loaded = self.path("loaded").display(),
            id = self.image.image_id(),
        );
        fs::write(&path, script).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    /// The fake `docker`, if there is one, comes before the real one.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command.arg("docker").env("PATH", path);
        command.arg("--dist").arg(self.path("dist")).arg("--model").arg(self.path("model")).args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Said {
        Said::of(self.command(arguments).output().unwrap())
    }
}

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

impl Said {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    #[track_caller]
    fn exits(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is not in:\n{}", self.stderr);
        }
        self
    }
}

#[test]
fn a_good_image_passes_and_what_is_left_is_said() {
    let scene = Scene::new().fake_engine("");
    let said = scene.run(&["--tag", "inferd:mine"]);
    said.exits(0).says(&[
        "left behind:",
        "docker rmi inferd:0.1.0 inferd:mine",
        "no container",
        "inferd-0.1.0-x.docker.tar",
        "digest of the config",
    ]);
    for word in
        [scene.image.manifest_digest(), scene.image.image_id(), "pass: 1 checks", "pass: a vector of 1"]
    {
        assert!(said.stdout.contains(word), "`{word}` is not in:\n{}", said.stdout);
    }
    let runs: Vec<String> =
        scene.calls().lines().filter(|call| call.starts_with("run ")).map(String::from).collect();
    assert_eq!(runs.len(), 2);
    for run in &runs {
        for word in
            ["--rm", "--memory 8g", "--read-only", "--network none", "--cap-drop ALL", scene.image.image_id()]
        {
            assert!(run.contains(word), "`{word}` is not in:\n{run}");
        }
    }
    let mount = format!("type=bind,\"source={}\",target=/model,readonly", scene.path("model").display());
    assert!(runs[1].contains(&mount), "{}", runs[1]);
}

#[test]
fn no_engine_is_told_with_a_way_on() {
    for (change, found) in [
        (
            "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock.' >&2; exit 1",
            "Cannot connect",
        ),
        ("echo 'permission denied while trying to connect' >&2; exit 1", "permission denied"),
        ("exit 0", "exit code 0"),
    ] {
        let scene = Scene::new().fake_engine(change);
        let archive = scene.archive();
        scene.run(&[]).exits(2).says(&[
            "no container engine answers",
            found,
            "docker version --format",
            "left behind:",
            "was not loaded",
            archive.to_str().unwrap(),
            "hint: start an engine",
            "docker load --input",
        ]);
        assert!(!scene.calls().contains("load"), "{}", scene.calls());
    }
}

#[test]
fn a_machine_without_docker_is_told_the_same() {
    let scene = Scene::new();
    let said = Said::of(scene.command(&[]).env("PATH", scene.path("bin")).output().unwrap());
    said.exits(2).says(&[
        "no container engine answers",
        "No such file",
        "hint: start an engine",
        "was not loaded",
    ]);
}

#[test]
fn a_container_that_does_not_end_is_removed_by_name() {
    let scene = Scene::new().fake_engine(r#"[ "$1" = run ] && exec sleep 60"#);
    let started = Instant::now();
    let said = scene.run(&["--timeout", "300 ms"]);
    assert!(started.elapsed() < Duration::from_secs(20));
    said.exits(2).says(&[
        "did not end in time",
        "was killed and removed",
        "hint: to run it by hand:\n      docker run",
    ]);
    let call = scene.calls();
    assert!(call.lines().any(|call| call.starts_with("rm --force muslin-selftest-")), "{call}");
}

#[test]
fn a_container_that_cannot_be_removed_is_named() {
    let scene = Scene::new().fake_engine(r#"[ "$1" = run ] && exec sleep 60; [ "$1" = rm ] && exit 1"#);
    scene
        .run(&["--timeout", "300 ms"])
        .exits(2)
        .says(&["may still be there; to remove it: docker rm --force muslin-selftest-"]);
}

#[test]
fn ctrl_c_removes_the_container_and_says_what_is_left() {
    let scene = Scene::new().fake_engine(r#"[ "$1" = run ] && exec sleep 60"#);
    let child = scene
        .command(&[])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let waited = Instant::now();
    while !scene.calls().contains("run ") {
        assert!(waited.elapsed() < Duration::from_secs(30), "{}", scene.calls());
        std::thread::sleep(Duration::from_millis(10));
    }
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let said = Said::of(child.wait_with_output().unwrap());
    said.exits(130).says(&[
        "left behind:",
        "was killed and removed",
        "docker rmi inferd:0.1.0",
        "interrupted",
    ]);
}

#[test]
fn a_selftest_that_fails_fails_the_verb_and_embed_is_tried_all_the_same() {
    let scene = Scene::new().fake_engine(
        r#"case "$*" in run*selftest*) echo '{"ok":false,"checks":[{"name":"stack","verdict":"fail"}]}'; exit 1;; esac"#,
    );
    let said = scene.run(&[]);
    said.exits(1).says(&[
        "`selftest` in the container",
        "stack fail",
        "exit code 1",
        "docker run --rm",
        "left behind:",
    ]);
    assert!(said.stdout.contains("pass: a vector"), "{}", said.stdout);
}

#[test]
fn a_vector_that_is_not_the_models_is_a_violation() {
    let scene = Scene::new().fake_engine("");
    fs::write(scene.path("model/config.json"), r#"{"hidden_size":384}"#).unwrap();
    scene.run(&[]).exits(1).says(&["have 384 numbers, this one has 1"]);
    fs::write(scene.path("model/modules.json"), r#"[{"type":"sentence_transformers.models.Dense"}]"#)
        .unwrap();
    scene.run(&[]).exits(0);
}

#[test]
fn a_container_killed_for_memory_is_a_violation() {
    let scene = Scene::new().fake_engine(r#"case "$*" in run*embed*) exit 137;; esac"#);
    scene.run(&[]).exits(1).says(&["`embed` in the container", "want of memory"]);
}

#[test]
fn an_engine_that_cannot_run_or_cannot_limit_is_not_a_verdict_on_the_image() {
    let scene =
        Scene::new().fake_engine(r#"[ "$1" = run ] && { echo "docker: no space left" >&2; exit 125; }"#);
    scene.run(&[]).exits(2).says(&["engine could not run", "no space left", "docker run --rm"]);
    let scene = Scene::new().fake_engine(
        r#"[ "$1" = run ] && echo "WARNING: Your kernel does not support memory limit capabilities. Limitation discarded." >&2"#,
    );
    scene.run(&[]).exits(2).says(&["without a memory limit", "hint: enable the memory controller"]);
}

#[test]
fn a_load_that_fails_is_quoted() {
    let scene =
        Scene::new().fake_engine(r#"[ "$1" = load ] && { echo "no space left on device" >&2; exit 1; }"#);
    scene.run(&[]).exits(2).says(&[
        "could not load the image",
        "no space left",
        "docker load --quiet",
        "was not loaded",
    ]);
}

#[test]
fn an_engine_with_another_image_under_the_name_is_noticed() {
    let scene = Scene::new().fake_engine(
        r#"[ "$1" = image ] && [ -e "$(dirname "$0")/../loaded" ] && { echo sha256:other; exit; }"#,
    );
    scene.run(&[]).exits(1).says(&["another image", "inferd:0.1.0"]);
    assert!(!scene.calls().contains("run "));
}

#[test]
fn a_store_that_names_images_by_manifest_is_understood() {
    let scene = Scene::new();
    let answer = format!(
        r#"[ "$1" = image ] && [ -e "$(dirname "$0")/../loaded" ] && {{ echo {}; exit; }}"#,
        scene.image.manifest_digest()
    );
    let scene = scene.fake_engine(&answer);
    scene.run(&[]).exits(0).says(&["digest of the manifest"]);
}

#[test]
fn an_image_that_loses_its_name_is_reported() {
    let scene = Scene::new().fake_engine(
        r#"[ "$1" = image ] && [ ! -e "$(dirname "$0")/../loaded" ] && { echo sha256:old; exit; }"#,
    );
    scene.run(&[]).exits(0).says(&["image sha256:old, which was inferd:0.1.0 before"]);
}

#[test]
fn bad_input_is_told_at_once_and_no_engine_is_asked() {
    let scene = Scene::new().fake_engine("");
    fs::write(scene.archive(), &fs::read(scene.archive()).unwrap()[..2000]).unwrap();
    fs::remove_file(scene.path("model/config.json")).unwrap();
    scene.run(&[]).exits(2).says(&[
        "2 problems",
        "image archive",
        "model folder",
        "has no files",
        "hint: `cargo xtask dist`",
    ]);
    fs::remove_file(scene.archive()).unwrap();
    scene.run(&[]).exits(2).says(&["which image", "one *.docker.tar", "none"]);
    fs::remove_dir(scene.path("dist")).unwrap();
    scene.run(&[]).exits(2).says(&["No such file", "--dist"]);
    assert_eq!(scene.calls(), "");
}

#[test]
fn two_archives_are_not_guessed_between() {
    let scene = Scene::new().fake_engine("");
    fs::copy(scene.archive(), scene.path("dist/other.docker.tar")).unwrap();
    scene.run(&[]).exits(2).says(&["which image", "other.docker.tar"]);
}

#[test]
fn a_model_that_a_container_cannot_read_is_refused_before() {
    let scene = Scene::new().fake_engine("");
    let weights = scene.path("model/model.safetensors");
    fs::write(&weights, "").unwrap();
    fs::set_permissions(&weights, fs::Permissions::from_mode(0o600)).unwrap();
    scene
        .run(&[])
        .exits(2)
        .says(&["`model.safetensors` cannot be read by others (mode 0600)", "chmod -R a+rX"]);

    fs::remove_file(&weights).unwrap();
    symlink(scene.archive(), &weights).unwrap();
    scene.run(&[]).exits(2).says(&["`model.safetensors` is a link that leads out", "cp -rL"]);

    fs::remove_file(&weights).unwrap();
    symlink("config.json", &weights).unwrap();
    scene.run(&[]).exits(0);
    fs::set_permissions(scene.path("model"), fs::Permissions::from_mode(0o700)).unwrap();
    scene.run(&[]).exits(2).says(&["the folder itself cannot be read and searched"]);
}

fn manifest(scene: &Scene, change: impl FnOnce(&mut serde_json::Value)) {
    let mut value = json!({
        "schema": 1,
        "files": [{ "name": "inferd-0.1.0-x.docker.tar" }, { "name": "inferd-0.1.0-x.oci.tar" }],
        "image": {
            "reference": scene.image.reference(),
            "manifest_digest": scene.image.manifest_digest(),
            "image_id": scene.image.image_id(),
            "binary_sha256": scene.image.file_digests()["/inferd"].trim_start_matches("sha256:"),
        },
    });
    change(&mut value);
    fs::write(scene.path("dist/dist-manifest.json"), value.to_string()).unwrap();
}

#[test]
fn the_manifest_says_which_archive_and_what_is_in_it() {
    let scene = Scene::new().fake_engine("");
    fs::copy(scene.archive(), scene.path("dist/older.docker.tar")).unwrap();
    manifest(&scene, |_| {});
    let said = scene.run(&[]);
    said.exits(0);
    assert!(!said.stderr.contains("warning"), "{}", said.stderr);
    for field in ["reference", "manifest_digest", "image_id", "binary_sha256"] {
        manifest(&scene, |value| value["image"][field] = "0000".into());
        scene.run(&[]).exits(2).says(&["is not the image that dist-manifest.json describes", field, "0000"]);
        manifest(&scene, |value| drop(value["image"].as_object_mut().unwrap().remove(field)));
        scene.run(&[]).exits(2).says(&["missing in the manifest", field]);
    }
    fs::write(scene.path("dist/dist-manifest.json"), "{").unwrap();
    scene.run(&[]).exits(2).says(&["dist-manifest.json", "hint"]);
}

/// Static, and answers as `inferd` does, provided that it runs as the image says and finds the model.
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

fn static_program(folder: &Path) -> PathBuf {
    let (source, program) = (folder.join("program.c"), folder.join("program"));
    fs::write(&source, PROGRAM).unwrap();
    // `cargo xtask test` names the musl compiler; without it the machine's own can link statically as well.
    let compiler = std::env::var("MUSLIN_CC").unwrap_or_else(|_| "cc".into());
    let made = Command::new(&compiler).arg("-static").arg("-o").arg(&program).arg(&source).output().unwrap();
    assert!(made.status.success(), "{compiler}: {}", String::from_utf8_lossy(&made.stderr));
    program
}

/// With an engine the image is loaded and run for real, without one the verb must say so: either way something is true
/// of this machine and is checked.
#[test]
fn the_real_engine_of_this_machine_runs_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let reference = format!("muslin-test:{}", std::process::id());
    let scene = Scene::with_program(
        ImageFile::from_source("/inferd", 0o555, static_program(folder.path())),
        &reference,
    );
    fs::set_permissions(scene.path("model"), fs::Permissions::from_mode(0o755)).unwrap();
    let docker = |arguments: &[&str]| Command::new("docker").args(arguments).output();
    let answers = docker(&["version"]).is_ok_and(|output| output.status.success());
    let said = scene.run(&[]);
    if !answers {
        said.exits(2).says(&["no container engine answers"]);
        return;
    }
    let removed = docker(&["rmi", &reference]).unwrap();
    said.exits(0).says(&[&format!("docker rmi {reference}"), "no container"]);
    assert!(removed.status.success(), "the hint that was given works");
    let names = docker(&["ps", "--all", "--format", "{{.Names}}"]).unwrap();
    let names = String::from_utf8(names.stdout).unwrap();
    assert!(!names.contains("muslin-selftest-") && !names.contains("muslin-embed-"), "{names}");
}
