//! Builds of a tiny library from end to end, with the machine's own compiler in place of zig: in seconds, where a real
//! library takes minutes. Only the compiler differs.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use super::*;
use crate::config::{Config, Located, Native};
use crate::host_env::{Commit, HostEnv};
use crate::inputs;
use crate::plan::CliOptions;
use patchset::Vendored;
use process::Runner;
use store::sha256_hex;

const ONE: &str = "int two(int);\nint one(int x) { return two(x) + 1; }\n";
const TWO: &str = "int two(int x) { return 2 * x; }\n";
/// A source that contains the time of its compilation.
const TIMED: &str =
    "int two(int x) { return 2 * x + (__DATE__ __TIME__)[8]; }\nconst char *when = __DATE__ __TIME__;\n";

struct Tiny {
    folder: PathBuf,
    plan: Plan,
    context: BuildContext,
    toolchain: Toolchain,
    tarball: PathBuf,
}

impl Tiny {
    /// In a folder of the caller, so that two processes can share it.
    #[expect(clippy::disallowed_methods, reason = "the compiler of the machine is found in PATH")]
    fn new(folder: &Path, two: &str, flags: &[&str], delay: &str) -> Self {
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            path
        };
        write("source/one.c", ONE);
        write("source/two.c", two);
        write(
            "vendor/source.toml",
            "name = \"tiny\"\nversion = \"1.0\"\nlicence = \"MIT\"\nhomepage = \"https://example.org/\"\n\
             files = \"files.sha256\"\n[[source]]\nkind = \"archive\"\nurl = \"https://example.org/tiny.tar.gz\"\n",
        );
        let digest = |text: &str| sha256_hex(text.as_bytes());
        write("vendor/files.sha256", &format!("{}  one.c\n{}  two.c\n", digest(ONE), digest(two)));
        write(
            "vendor/build.toml",
            "archive = \"libtiny.a\"\nfunctions = [\"one\", \"two\"]\nundefined = []\n[recipe]\nkind = \"cc\"\n\
             sources = [\"one.c\", \"two.c\"]\nflags = [\"-O2\", \"-fno-pic\", \"-Wno-date-time\"]\n",
        );
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all("tiny-1.0", folder.join("source")).unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, &tar.into_inner().unwrap()).unwrap();
        let tarball = folder.join("tiny.tar.gz");
        std::fs::write(&tarball, gzip.finish().unwrap()).unwrap();
        let cc = write("cc", &format!("#!/bin/sh\n{delay}\nexec cc \"$@\"\n"));
        std::fs::set_permissions(&cc, std::fs::Permissions::from_mode(0o755)).unwrap();

        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let environment: BTreeMap<_, _> = ["PATH", "HOME"]
            .into_iter()
            .filter_map(|name| Some((name.into(), std::env::var_os(name)?)))
            .collect();
        let host = HostEnv {
            root: root.clone(),
            cache_dir: folder.join("cache"),
            cores: 2,
            commit: Commit { id: "0".repeat(40), dirty: false, epoch_seconds: 1 },
            environment: environment.clone(),
            overrides: BTreeMap::new(),
            profiles: Vec::new(),
        };
        let config = Config::load(&root.join("release.toml")).unwrap();
        let options = CliOptions { quiet: true, ..CliOptions::default() };
        let context = BuildContext::new(&host, Runner::without_signals(), true, 2).unwrap();
        let inputs = inputs::read(&config, &host, &options, &context).unwrap();
        let mut plan = Plan::new(config, &host, &options, inputs).unwrap();
        plan.paths.work = folder.join("work");
        let flags = flags.iter().map(|flag| {
            Located::new((*flag).to_string(), "release.toml", diag::Location { line: 1, column: 1 })
        });
        let native = Native {
            vendor: "vendor".into(),
            threads_max: None,
            kernels: Vec::new(),
            options: flags.collect(),
        };
        let vendored = Vendored::read(&folder.join("vendor")).unwrap();
        plan.native = vec![LibraryPlan::new("tiny", &native, vendored, plan.config.stack_size).unwrap()];
        let toolchain = Toolchain::of_machine(cc);
        Self { folder: folder.into(), plan, context, toolchain, tarball }
    }

    fn library(&self) -> &LibraryPlan {
        &self.plan.native[0]
    }

    fn build(&self) -> anyhow::Result<StaticLib> {
        let Self { plan, context, toolchain, tarball, .. } = self;
        let inputs = NativeInputs::new(&plan.target, context, toolchain, self.library())?;
        build_one(plan, context, toolchain, self.library(), &inputs, Some(tarball))
    }

    fn repeat(&self, times: usize) -> repeat::RepeatReport {
        repeat::repeat(&self.plan, &self.context, &self.toolchain, self.library(), &self.tarball, times)
            .unwrap()
    }

    /// Text without the folder of the test and the random name of a staging folder.
    fn without_folders(&self, text: &str) -> String {
        let text = text.replace(&self.folder.display().to_string(), "FOLDER");
        let mut parts = text.split("/.staging-");
        let mut shown: String = parts.next().unwrap_or_default().into();
        for part in parts {
            let end = part.find(['/', '`', ' ', '\n']).unwrap_or(part.len());
            shown += "/STAGING";
            shown += &part[end..];
        }
        shown
    }

    /// The build fails: its error and hint.
    fn error(&self) -> String {
        let error = self.build().unwrap_err();
        let hint = diag::hint_of(&error).map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
        self.without_folders(&format!("{error:#}{hint}"))
    }

    /// Names in the cache's folder of native builds.
    fn entries(&self) -> Vec<String> {
        let folder = std::fs::read_dir(self.folder.join("cache/native")).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            folder.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

#[test]
fn reuses_a_build_until_a_flag_or_source_changes() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), TWO, &[], "");
    let first = tiny.build().unwrap();
    assert!(!first.reused() && first.archive().size_bytes() > 0 && first.liveness().is_empty());
    assert!(tiny.build().unwrap().reused());
    let other = Tiny::new(folder.path(), TWO, &["-DX=1"], "").build().unwrap();
    assert!(
        !other.reused() && other.fingerprint() != first.fingerprint() && other.folder() != first.folder()
    );
    let changed = Tiny::new(folder.path(), &format!("{TWO}int three;\n"), &[], "").build().unwrap();
    assert!(!changed.reused() && changed.fingerprint() != first.fingerprint());
}

#[test]
fn builds_a_corrupted_archive_again() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), TWO, &[], "");
    let first = tiny.build().unwrap();
    std::fs::write(first.archive().path(), "not an archive").unwrap();
    let again = tiny.build().unwrap();
    assert!(!again.reused());
    assert_eq!(again.archive().sha256(), first.archive().sha256());
}

/// The report without the lines of durations.
fn conclusions(report: &repeat::RepeatReport) -> String {
    let is_duration = |line: &&str| line.contains(" CPU s") || line.contains(" times as long as ");
    report.human().lines().filter(|line| !is_duration(line)).flat_map(|line| [line, "\n"]).collect()
}

#[test]
fn builds_are_reproducible_and_a_source_with_the_time_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), TWO, &[], "");
    let report = tiny.repeat(4);
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!(report.runs.len(), 4);
    assert!(report.check_seconds.is_none());
    insta::assert_snapshot!(conclusions(&report), @"
    tiny
      with nothing changed: not measured, it is not in the cache
      4 builds, the same bytes
    ");

    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), TIMED, &[], "");
    let report = tiny.repeat(3);
    assert_eq!(
        report.differences,
        [
            "run 2: libtiny.a: member `two.o` has other bytes",
            "run 3: libtiny.a: member `two.o` has other bytes"
        ]
    );
    insta::assert_snapshot!(conclusions(&report), @"
    tiny
      with nothing changed: not measured, it is not in the cache
      DIFFERS  run 2: libtiny.a: member `two.o` has other bytes
      DIFFERS  run 3: libtiny.a: member `two.o` has other bytes
      violated: 2 differences
    ");
}

#[test]
fn a_failed_compilation_names_error_command_and_log_and_leaves_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), "int two(int x) { return y; }\n", &[], "");
    let shown = tiny.error();
    // These words belong to the compiler of the machine, and those variables to its environment.
    let (before, of_compiler) = shown.split_once("two.c:1:").unwrap();
    let (error, after) = of_compiler.split_once('\n').unwrap();
    assert!(error.contains(" error: "), "{error}");
    let (hint, command) = after.split_once(" && ").unwrap();
    let call = &command[command.find("FOLDER/cc ").unwrap()..];
    insta::assert_snapshot!(format!("{before}two.c:1:…\n{hint} && … {call}"), @"
    could not compile two.c of tiny
      expected: exit code 0
      found:    exit code 1
                two.c:1:…
    hint: the whole log is FOLDER/work/logs/tiny.log; to run it by hand:
    cd FOLDER/cache/native/STAGING/tree && … FOLDER/cc -O2 -fno-pic -Wno-date-time -c two.c -o two.o
    ");
    let log = std::fs::read_to_string(tiny.plan.log("tiny")).unwrap();
    assert!(log.contains(" error: "), "{log}");
    let left = tiny.entries();
    assert!(left.len() == 1 && left[0].ends_with(".lock"), "{left:?}");
}

#[test]
fn an_archive_that_violates_a_check_leaves_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(
        folder.path(),
        "int abs(int); int puts(const char *);\nint two(int x) { return puts(\"\"); }\n",
        &[],
        "",
    );
    insta::assert_snapshot!(tiny.error(), @"
    checking the archive of tiny; the log of the native build is FOLDER/work/logs/tiny.log: `puts` is undefined and not in `undefined`
      expected: every undefined symbol in build.toml
    ");
    let tiny = Tiny::new(folder.path(), TWO, &["-g"], "");
    insta::assert_snapshot!(tiny.error(), @"
    checking the archive of tiny; the log of the native build is FOLDER/work/logs/tiny.log: 4 problems
      1. the object holds a path of the build machine
           --> one.o
           found:    `FOLDER/cache/native/STAGING`
      2. the object holds a path of the build machine
           --> one.o
           found:    `FOLDER/cache`
      3. the object holds a path of the build machine
           --> two.o
           found:    `FOLDER/cache/native/STAGING`
      4. the object holds a path of the build machine
           --> two.o
           found:    `FOLDER/cache`
    ");
    assert!(tiny.entries().iter().all(|name| name.ends_with(".lock")), "{:?}", tiny.entries());
}

const CHILD: &str = "MUSLIN_TEST_TINY";
const SLOW: &str = "sleep 20";

/// The process that the next test kills; without the variable it does nothing.
#[expect(clippy::disallowed_methods, reason = "inputs of tests are variables")]
#[test]
fn child_that_builds_slowly() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let _ = Tiny::new(Path::new(&folder), TWO, &[], SLOW).build();
    }
}

#[test]
fn a_killed_build_leaves_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "stages::native::tests::child_that_builds_slowly"])
        .env(CHILD, folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let native = folder.path().join("cache/native");
    let compiling = || {
        std::fs::read_dir(&native)
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| entry.path().join("tree/one.c").exists())
    };
    let started = Instant::now();
    while !compiling() {
        assert!(started.elapsed() < Duration::from_mins(1), "the child does not build");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let tiny = Tiny::new(folder.path(), TWO, &[], "");
    assert!(tiny.entries().iter().any(|name| name.starts_with(".staging-")), "{:?}", tiny.entries());
    let library = tiny.build().unwrap();
    assert!(!library.reused());
    let left: Vec<String> = tiny.entries().into_iter().filter(|name| name.starts_with(".staging-")).collect();
    assert_eq!(left, Vec::<String>::new(), "the staging folder of the killed build still exists");
    assert!(tiny.build().unwrap().reused());
}
