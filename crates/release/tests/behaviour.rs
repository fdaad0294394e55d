//! Behaviour of the patches in running programs: each C test of `vendor/NAME/tests/tests.toml` passes with the shipped
//! archive and fails with the unpatched objects linked before it. Every program has a time limit.
//!
//! Only the objects that make the difference are compiled again, with the call from the log of the build, so that the control
//! differs from the shipped archive in nothing else.
#![expect(clippy::print_stderr, reason = "a helper prints how each program ended")]

mod inputs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use inputs::input;
use patchset::behaviour::{self, BehaviourTest};
use patchset::file_list::{FileList, verify_and_copy};
use patchset::unpack::unpack;
use patchset::{Input, Vendored};
use release::config::Config;
use release::stages::native::COMPILE_LOG;

/// Default thread stack of musl without `-z stack-size`.
const STACK_WITHOUT_FLAG: u64 = 128 << 10;
/// Exit status of a shell for this signal.
const SIGSEGV: i32 = 139;

struct Library {
    name: String,
    vendor: PathBuf,
    vendored: Vendored,
    /// The unpatched tree and the patched one, with the files of the configuration.
    trees: [OnceLock<PathBuf>; 2],
}

fn config() -> Config {
    Config::load(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../release.toml")).unwrap()
}

/// All libraries of release.toml, each read and unpacked once for all tests.
fn libraries() -> &'static [Library] {
    static LIBRARIES: OnceLock<Vec<Library>> = OnceLock::new();
    LIBRARIES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let config = config();
        let library = |(name, native): (&String, &release::config::Native)| {
            let vendor = root.join(&native.vendor);
            let vendored = Vendored::read(&vendor).unwrap();
            Library { name: name.clone(), vendor, vendored, trees: [OnceLock::new(), OnceLock::new()] }
        };
        config.native.iter().map(library).collect()
    })
}

fn library(name: &str) -> &'static Library {
    libraries().iter().find(|library| library.name == name).expect("a library of release.toml")
}

impl Library {
    fn input(&self, what: &str) -> PathBuf {
        input(&format!("MUSLIN_NATIVE_{}_{what}", self.name.to_uppercase()))
    }

    fn tree(&self, patched: bool) -> &Path {
        self.trees[usize::from(patched)].get_or_init(|| {
            let folder = tempfile::tempdir().unwrap().keep();
            let tree = folder.join("tree");
            let tarball = self.input("SOURCE");
            if patched {
                self.vendored.prepare(Input::Tarball(&tarball), &tree).unwrap();
            } else {
                let unpacked = folder.join("unpacked");
                std::fs::create_dir_all(&unpacked).unwrap();
                std::fs::create_dir_all(&tree).unwrap();
                unpack(&tarball, &unpacked).unwrap();
                let list = FileList::read(&self.vendor.join(&self.vendored.manifest.files)).unwrap();
                verify_and_copy(&unpacked, &list, &tree).unwrap();
                std::fs::remove_dir_all(&unpacked).unwrap();
            }
            for name in &self.vendored.build.keep_files {
                std::fs::copy(self.input("DIR").join(name), tree.join(name)).unwrap();
            }
            tree
        })
    }

    /// Compiles one object with the call of the build, changed by `edit`.
    fn object(&self, patched: bool, object: &str, into: &Path, edit: impl Fn(&str) -> String) -> PathBuf {
        let (folder, name) = object.rsplit_once('/').unwrap_or(("", object));
        let log = std::fs::read_to_string(self.input("DIR").join(COMPILE_LOG)).unwrap();
        let wanted = format!(" -o {name}");
        let call = log
            .lines()
            .find(|line| {
                line.contains(" -c ") && line.split(" && ").next().is_some_and(|call| call.ends_with(&wanted))
            })
            .unwrap_or_else(|| panic!("the log of the build has no call that makes {name}"));
        let output = into.join(name);
        let call = edit(call).replace(&wanted, &format!(" -o {}", output.display()));
        let folder = self.tree(patched).join(folder);
        let compiled = Command::new("sh").arg("-c").arg(&call).current_dir(folder).output().unwrap();
        assert!(compiled.status.success(), "{call}\n{}", String::from_utf8_lossy(&compiled.stderr));
        output
    }

    /// Links a C test with `objects` before the archive, and runs it.
    fn run(
        &self,
        test: &str,
        objects: &[&Path],
        stack_size: u64,
        environment: &BTreeMap<String, String>,
        timeout: Duration,
    ) -> i32 {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(test);
        // An object of its own: `zig cc` puts sources behind the archive, and then the linker takes members of the archive for
        // what the test itself defines.
        let object = folder.path().join("test.o");
        let compiled = Command::new(input("MUSLIN_CC"))
            .args(["-O2", "-c"])
            .arg(format!("-DSTACK_SIZE_BYTES={}", config().stack_size.0))
            .arg(self.vendor.join("tests").join(format!("{test}.c")))
            .arg("-o")
            .arg(&object)
            .output()
            .unwrap();
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let linked = Command::new(input("MUSLIN_CC"))
            .arg("-static")
            .arg(&object)
            .args(objects)
            .arg(self.input("DIR").join(&self.vendored.build.archive))
            .arg(format!("-Wl,-z,stack-size={stack_size}"))
            .arg("-o")
            .arg(&program)
            .output()
            .unwrap();
        assert!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
        let mut child = Command::new(&program);
        child.env_clear().envs(environment);
        let (status, elapsed) = wait_with_timeout(&mut child, timeout)
            .unwrap_or_else(|| panic!("{test}: did not end within {timeout:?}, although it sets an alarm"));
        eprintln!("{test}: exit {status} after {:.1} s", elapsed.as_secs_f64());
        status
    }
}

/// Exit status as a shell reports it, or `None` after the time limit.
fn wait_with_timeout(command: &mut Command, timeout: Duration) -> Option<(i32, Duration)> {
    use std::os::unix::process::ExitStatusExt;
    let started = Instant::now();
    let mut child = command.spawn().unwrap();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            return Some((code, started.elapsed()));
        }
        if started.elapsed() > timeout {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Violations of one test, with the shipped archive and with the unpatched objects.
fn check(library: &Library, test: &BehaviourTest) -> Vec<String> {
    let name = format!("{}: {}", library.name, test.name);
    let run = |objects: &[&Path]| {
        library.run(&test.name, objects, test.stack_size.0, &test.environment, test.timeout.0)
    };
    let mut violations = Vec::new();
    let shipped = run(&[]);
    if shipped != 0 {
        violations.push(format!("{name}: expected exit 0 with the shipped archive, found {shipped}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let objects: Vec<PathBuf> = test
        .unpatched_objects
        .iter()
        .map(|object| library.object(false, object, folder.path(), str::to_string))
        .collect();
    let objects: Vec<&Path> = objects.iter().map(PathBuf::as_path).collect();
    let unpatched = run(&objects);
    if !test.unpatched_exit_codes.contains(&unpatched) {
        violations.push(format!(
            "{name}: expected one of {:?} without the patch, found exit {unpatched}",
            test.unpatched_exit_codes
        ));
    }
    violations
}

/// Two at a time: each mostly waits.
#[test]
fn every_behavioural_test_passes_with_and_fails_without_its_patch() {
    let tests: Vec<(&Library, BehaviourTest)> = libraries()
        .iter()
        .flat_map(|library| {
            let table = behaviour::read(&library.vendor, &library.vendored).unwrap();
            table.into_iter().map(move |test| (library, test))
        })
        .collect();
    assert!(tests.len() >= 8, "only {} tests", tests.len());
    let waiting = Mutex::new(tests.iter());
    let violations = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().next();
                    let Some((library, test)) = next else { break };
                    let found = check(library, test);
                    violations.lock().unwrap().extend(found);
                }
            });
        }
    });
    assert_eq!(violations.into_inner().unwrap(), Vec::<String>::new());
}

#[test]
fn a_program_that_hangs_is_killed_at_its_time_limit() {
    let mut sleep = Command::new("sleep");
    assert!(wait_with_timeout(sleep.arg("60"), Duration::from_millis(200)).is_none());
    let mut shell = Command::new("sh");
    assert_eq!(
        wait_with_timeout(shell.args(["-c", "kill -SEGV $$"]), Duration::from_secs(20)).unwrap().0,
        SIGSEGV
    );
}

/// The option of the shipped build that puts the job array on the heap.
const HEAP: &str = "-DBLAS3_MEM_ALLOC_THRESHOLD=0";

/// With a maximum of 32 threads, the job array of a GEMM takes 128 KiB of the caller's stack: a thread with default attributes
/// crashes without the link flag and works with it.
#[test]
fn a_default_thread_that_calls_a_gemm_crashes_without_the_link_flag() {
    let openblas = library("openblas");
    let run = |objects: &[&Path], stack_size| {
        openblas.run("caller_stack", objects, stack_size, &BTreeMap::new(), Duration::from_mins(1))
    };
    let folder = tempfile::tempdir().unwrap();
    let for_32_threads = |call: &str| {
        assert!(
            call.contains("-DMAX_CPU_NUMBER=64 "),
            "the build has another maximum of threads than 64: {call}"
        );
        assert!(call.contains(HEAP), "the build does not put the job array on the heap: {call}");
        call.replace("-DMAX_CPU_NUMBER=64 ", "-DMAX_CPU_NUMBER=32 ").replace(HEAP, "")
    };
    let driver = openblas.object(true, "driver/level3/sgemm_thread_nn.o", folder.path(), for_32_threads);
    let stack_size = config().stack_size.0;
    assert_eq!(run(&[&driver], STACK_WITHOUT_FLAG), SIGSEGV, "without a crash this test shows nothing");
    assert_eq!(run(&[&driver], stack_size), 0, "it crashes with the link flag too");
    assert_eq!(run(&[], STACK_WITHOUT_FLAG), 0, "the shipped archive puts the array on the heap");
}
