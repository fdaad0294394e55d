//! A `dist/`, a fake engine, and the outcome of the verb without what differs between runs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output};

use oci_image::{ImageFile, ImageSpec, OciImage};
use serde_json::json;
use tempfile::TempDir;

/// A `dist/`, a model folder, and a folder for a fake `docker`.
pub struct Fixture {
    folder: TempDir,
    pub image: OciImage,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with_program(ImageFile::from_bytes("/inferd", 0o555, "not a program"), "inferd:0.1.0")
    }

    pub fn with_program(program: ImageFile, reference: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["dist", "model", "bin"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let image = OciImage::build(&ImageSpec {
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
        let fixture = Self { folder, image };
        fs::set_permissions(fixture.path("model"), fs::Permissions::from_mode(0o755)).unwrap();
        fixture.write_model_file("config.json", "{}");
        let mut archive = Vec::new();
        fixture.image.write_docker_tar(&mut archive).unwrap();
        fs::write(fixture.archive(), archive).unwrap();
        fixture
    }

    /// Writes a file of the model that others can read, independent of the umask.
    pub fn write_model_file(&self, name: &str, text: &str) {
        let path = self.path("model").join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn archive(&self) -> PathBuf {
        self.path("dist/inferd-0.1.0-x.docker.tar")
    }

    /// A `docker` that answers like the real one; `change` is shell code that runs first and may answer instead.
    pub fn fake_engine(self, change: &str) -> Self {
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

    pub fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    /// The fake `docker`, if there is one, comes before the real one.
    #[expect(clippy::disallowed_methods, reason = "the child gets the PATH of this process")]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        command.arg("docker").env("PATH", path);
        command.arg("--dist").arg(self.path("dist")).arg("--model").arg(self.path("model")).args(arguments);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        self.finish(self.command(arguments).output().unwrap())
    }

    pub fn finish(&self, output: Output) -> Run {
        Run {
            code: output.status.code().unwrap(),
            stdout: self.redact(&output.stdout),
            stderr: self.redact(&output.stderr),
        }
    }

    /// Without paths, digests, process IDs and times, which differ between runs and machines.
    pub fn redact(&self, bytes: &[u8]) -> String {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let folder = self.folder.path().canonicalize().unwrap();
        let program = self.image.file_digests()["/inferd"].trim_start_matches("sha256:");
        let text = [
            (folder.to_str().unwrap(), "FOLDER"),
            (self.folder.path().to_str().unwrap(), "FOLDER"),
            (self.image.manifest_digest(), "MANIFEST_DIGEST"),
            (self.image.image_id(), "IMAGE_ID"),
            (program, "BINARY_SHA256"),
        ]
        .into_iter()
        .fold(text, |text, (found, name)| text.replace(found, name));
        let text = redact_after(&text, "muslin-selftest-", |c| c.is_ascii_digit(), "PID");
        let text = redact_after(&text, "muslin-embed-", |c| c.is_ascii_digit(), "PID");
        redact_after(&text, "  (", |c| c.is_ascii_digit() || c == '.', "TIME")
    }
}

/// Replaces the characters of a class after a marker.
fn redact_after(text: &str, marker: &str, class: fn(char) -> bool, name: &str) -> String {
    let mut parts = text.split(marker);
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let rest = part.trim_start_matches(class);
        out += marker;
        out += if rest.len() < part.len() { name } else { "" };
        out += rest;
    }
    out
}

pub struct Run {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}

/// Writes a manifest with a change.
pub fn manifest(fixture: &Fixture, change: impl FnOnce(&mut serde_json::Value)) {
    let mut value = json!({
        "schema": 1,
        "files": [{ "name": "inferd-0.1.0-x.docker.tar" }, { "name": "inferd-0.1.0-x.oci.tar" }],
        "image": {
            "reference": fixture.image.reference(),
            "manifest_digest": fixture.image.manifest_digest(),
            "image_id": fixture.image.image_id(),
            "binary_sha256": fixture.image.file_digests()["/inferd"].trim_start_matches("sha256:"),
        },
    });
    change(&mut value);
    fs::write(fixture.path("dist/dist-manifest.json"), value.to_string()).unwrap();
}
