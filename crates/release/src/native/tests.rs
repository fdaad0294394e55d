//! Builds of a tiny library from end to end, with the machine's own compiler in zig's place: what a real library takes
//! minutes to show is shown here in seconds. Nothing but the compiler's name differs.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use super::*;
use crate::config::{Config, Located, Native};
use crate::plan::Choices;
use crate::surroundings::{Commit, Surroundings};
use crate::toolchain::{Asked, Origin, Rust, StdOrigin, Tool, Wrappers};
use process::Runner;
use store::Store;
use store::sha256_hex;

const ONE: &str = "int two(int);\nint one(int x) { return two(x) + 1; }\n";
const TWO: &str = "int two(int x) { return 2 * x; }\n";
/// What a source that tells the time does to an archive.
const TIMED: &str =
    "int two(int x) { return 2 * x + (__DATE__ __TIME__)[8]; }\nconst char *when = __DATE__ __TIME__;\n";

struct Tiny {
    folder: PathBuf,
    plan: Plan,
    site: Site,
    toolchain: Toolchain,
}

impl Tiny {
    /// In a folder of the caller's, so that two processes can share it.
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
        let surroundings = Surroundings {
            root: root.clone(),
            cache_dir: folder.join("cache"),
            cores: 2,
            commit: Commit { id: "0".repeat(40), dirty: false, epoch_seconds: 1 },
            environment: environment.clone(),
            hostile: BTreeMap::new(),
            profiles: Vec::new(),
        };
        let config = Config::load(&root.join("release.toml")).unwrap();
        let choices = Choices { quiet: true, ..Choices::default() };
        let mut plan = Plan::new(config, &surroundings, choices, Vec::new()).unwrap();
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
        plan.native = vec![LibraryPlan::new(folder, "tiny", &native, Some(tarball)).unwrap()];
        let runner = Runner::without_signals();
        let site = Site {
            store: Store::new(folder.join("cache"), runner.clone()),
            runner,
            environment,
            asked: Asked::default(),
            offline: true,
        };
        Self { folder: folder.into(), plan, site, toolchain: toolchain(cc) }
    }

    fn library(&self) -> &LibraryPlan {
        &self.plan.native[0]
    }

    fn build(&self) -> anyhow::Result<StaticLib> {
        build(&self.plan, &self.site, &self.toolchain, &Jobs::new(2).unwrap(), self.library())
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

fn toolchain(cc: PathBuf) -> Toolchain {
    let sha256 = Digest::of(b"of the machine");
    let tool = |name: &'static str| Tool {
        name,
        version: "GNU Make 4.3".into(),
        path: name.into(),
        sha256: sha256.clone(),
        origin: Origin::Machine,
    };
    Toolchain {
        zig: tool("zig"),
        upx: tool("upx"),
        make: tool("make"),
        objcopy: tool("objcopy"),
        host_cc: tool("cc"),
        rust: Rust {
            cargo: "cargo".into(),
            rustc: "rustc".into(),
            version: String::new(),
            std: StdOrigin::Installed,
            cargo_args: Vec::new(),
            cargo_env: BTreeMap::new(),
            rustflags: Vec::new(),
        },
        wrappers: Wrappers { cc, ar: "ar".into(), ranlib: "ranlib".into(), sha256 },
    }
}

#[test]
fn a_build_is_reused_and_a_changed_flag_makes_another() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), TWO, &[], "");
    let first = tiny.build().unwrap();
    assert!(!first.reused && first.archive.size_bytes > 0 && first.patches.is_empty());
    assert!(tiny.build().unwrap().reused);
    let other = Tiny::new(folder.path(), TWO, &["-DX=1"], "").build().unwrap();
    assert!(!other.reused && other.fingerprint != first.fingerprint && other.folder != first.folder);
    let changed = Tiny::new(folder.path(), &format!("{TWO}int three;\n"), &[], "").build().unwrap();
    assert!(!changed.reused && changed.fingerprint != first.fingerprint);
}

#[test]
fn a_corrupted_archive_is_built_again() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), TWO, &[], "");
    let first = tiny.build().unwrap();
    std::fs::write(&first.archive.path, "not an archive").unwrap();
    let again = tiny.build().unwrap();
    assert!(!again.reused);
    assert_eq!(again.archive.sha256, first.archive.sha256);
}

#[test]
fn builds_repeat_and_a_source_that_tells_the_time_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), TWO, &[], "");
    let report = repeat::repeat(&tiny.plan, &tiny.site, &tiny.toolchain, tiny.library(), 4).unwrap();
    assert_eq!(report.differences, Vec::<String>::new());
    assert_eq!(report.runs.len(), 4);
    assert!(report.check_seconds.is_none() && report.human().contains("not measured"), "{}", report.human());

    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), TIMED, &[], "");
    let report = repeat::repeat(&tiny.plan, &tiny.site, &tiny.toolchain, tiny.library(), 3).unwrap();
    assert_eq!(
        report.differences,
        [
            "run 2: libtiny.a: member `two.o` has other bytes",
            "run 3: libtiny.a: member `two.o` has other bytes"
        ]
    );
    assert!(report.human().contains("violated: 2 differences"), "{}", report.human());
}

#[test]
fn a_failing_compile_shows_the_error_the_command_and_the_log_and_leaves_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(folder.path(), "int two(int x) { return y; }\n", &[], "");
    let error = tiny.build().unwrap_err();
    let told = error.to_string();
    assert!(told.contains("could not compile two.c of tiny"), "{told}");
    assert!(told.contains("two.c:1:") && told.contains("error:"), "{told}");
    let hint = diag::hint_of(&error).unwrap();
    assert!(hint.contains("logs/tiny.log") && hint.contains("-c two.c -o two.o"), "{hint}");
    let log = std::fs::read_to_string(tiny.plan.log("tiny")).unwrap();
    assert!(log.contains("error:"), "{log}");
    let left = tiny.entries();
    assert!(left.len() == 1 && left[0].ends_with(".lock"), "{left:?}");
}

#[test]
fn an_archive_that_shows_something_else_is_refused_and_leaves_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = Tiny::new(
        folder.path(),
        "int abs(int); int puts(const char *);\nint two(int x) { return puts(\"\"); }\n",
        &[],
        "",
    );
    let told = format!("{:#}", tiny.build().unwrap_err());
    assert!(told.contains("`puts` is undefined and not in `undefined`"), "{told}");
    let tiny = Tiny::new(folder.path(), TWO, &["-g"], "");
    let told = format!("{:#}", tiny.build().unwrap_err());
    assert!(told.contains("of the build machine"), "{told}");
    assert!(tiny.entries().iter().all(|name| name.ends_with(".lock")), "{:?}", tiny.entries());
}

const CHILD: &str = "MUSLIN_TEST_TINY";
const SLOW: &str = "sleep 20";

/// Not a test by itself: the process that the next one kills.
#[test]
fn child_that_builds_slowly() {
    if let Some(folder) = std::env::var_os(CHILD) {
        let _ = Tiny::new(Path::new(&folder), TWO, &[], SLOW).build();
    }
}

#[test]
fn a_build_that_was_killed_leaves_nothing_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "native::tests::child_that_builds_slowly"])
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
    let asked = Instant::now();
    while !compiling() {
        assert!(asked.elapsed() < Duration::from_secs(60), "the child does not build");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let tiny = Tiny::new(folder.path(), TWO, &[], "");
    assert!(tiny.entries().iter().any(|name| name.starts_with(".staging-")), "{:?}", tiny.entries());
    let library = tiny.build().unwrap();
    assert!(!library.reused);
    let left: Vec<String> = tiny.entries().into_iter().filter(|name| name.starts_with(".staging-")).collect();
    assert_eq!(left, Vec::<String>::new(), "the dead build's folder is still there");
    assert!(tiny.build().unwrap().reused);
}
