//! What the patches of each library change, seen in programs that run: each C test of `vendor/NAME/tests/tests.toml` holds
//! with the archive that ships, and does not with the unpatched objects in front of it. Every program has a time-out.
//!
//! One object is compiled again where one object makes the difference: with the very call that the build made, out of its
//! log, so that the control differs from what ships in nothing else.

mod inputs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use inputs::input;
use patchset::behaviour::{self, Behaviour};
use patchset::manifest::{FileList, verify_and_copy};
use patchset::unpack::unpack;
use patchset::{Input, Vendored};
use release::config::Config;
use release::stages::native::COMPILE_LOG;

const LOST: u64 = 128 << 10;
const PROMISED: u64 = 8 << 20;
/// As a shell reports them.
const SIGSEGV: i32 = 139;

struct Library {
    name: String,
    vendor: PathBuf,
    vendored: Vendored,
    /// The unpatched tree and the patched one, with what the configuration wrote.
    trees: [OnceLock<PathBuf>; 2],
}

/// All libraries of release.toml, each read and unpacked once for all tests.
fn libraries() -> &'static [Library] {
    static LIBRARIES: OnceLock<Vec<Library>> = OnceLock::new();
    LIBRARIES.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let config = Config::load(&root.join("release.toml")).unwrap();
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
            for name in &self.vendored.build.keeps {
                std::fs::copy(self.input("DIR").join(name), tree.join(name)).unwrap();
            }
            tree
        })
    }

    /// Compiles one object as the build did, after `edit` on the call.
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
        let made = Command::new("sh").arg("-c").arg(&call).current_dir(folder).output().unwrap();
        assert!(made.status.success(), "{call}\n{}", String::from_utf8_lossy(&made.stderr));
        output
    }

    /// Links a C test with `objects` in front of the archive, and runs it.
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
        let linked = Command::new(input("MUSLIN_CC"))
            .args(["-O2", "-static"])
            .arg(self.vendor.join("tests").join(format!("{test}.c")))
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
        let (status, took) = ended(&mut child, timeout)
            .unwrap_or_else(|| panic!("{test}: did not end within {timeout:?}, in spite of its alarm clock"));
        eprintln!("{test}: exit {status} after {:.1} s", took.as_secs_f64());
        status
    }
}

/// Exit code as a shell has it, or nothing after the time-out.
fn ended(command: &mut Command, timeout: Duration) -> Option<(i32, Duration)> {
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

/// What is wrong with one test, on both archives.
fn check(library: &Library, test: &Behaviour) -> Vec<String> {
    let name = format!("{}: {}", library.name, test.name);
    let run = |objects: &[&Path]| {
        library.run(&test.name, objects, test.stack_size.0, &test.environment, test.timeout.0)
    };
    let mut wrong = Vec::new();
    let shipped = run(&[]);
    if shipped != 0 {
        wrong.push(format!("{name} does not hold with the archive that ships: exit {shipped}"));
    }
    let folder = tempfile::tempdir().unwrap();
    let objects: Vec<PathBuf> = test
        .unpatched
        .iter()
        .map(|object| library.object(false, object, folder.path(), str::to_string))
        .collect();
    let objects: Vec<&Path> = objects.iter().map(PathBuf::as_path).collect();
    let unpatched = run(&objects);
    if !test.unpatched_exits.contains(&unpatched) {
        wrong.push(format!(
            "{name}: expected one of {:?} without the patch, found exit {unpatched}",
            test.unpatched_exits
        ));
    }
    wrong
}

/// Two at a time: each is mostly waiting, and some measure how long a hang lasts.
#[test]
fn every_patch_of_every_library_changes_what_its_test_sees() {
    let tests: Vec<(&Library, Behaviour)> = libraries()
        .iter()
        .flat_map(|library| {
            let table = behaviour::read(&library.vendor, &library.vendored).unwrap();
            table.into_iter().map(move |test| (library, test))
        })
        .collect();
    assert!(tests.len() >= 7, "only {} tests", tests.len());
    let waiting = Mutex::new(tests.iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap().next();
                    let Some((library, test)) = next else { break };
                    let found = check(library, test);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    assert_eq!(wrong.into_inner().unwrap(), Vec::<String>::new());
}

/// A program that never ends must end the test all the same.
#[test]
fn a_test_that_hangs_is_ended() {
    let mut sleep = Command::new("sleep");
    assert!(ended(sleep.arg("60"), Duration::from_millis(200)).is_none());
    let mut shell = Command::new("sh");
    assert_eq!(ended(shell.args(["-c", "kill -SEGV $$"]), Duration::from_secs(20)).unwrap().0, SIGSEGV);
}

/// The option that keeps the job array off the stack in what ships.
const HEAP: &str = "-DBLAS3_MEM_ALLOC_THRESHOLD=0";

/// The crash of the incident. With 32 threads at most, the job array of a GEMM takes 128 KiB of the caller's stack: a
/// thread with default attributes dies of it without the link flag, and lives with it.
#[test]
fn a_default_thread_that_calls_a_gemm_dies_without_the_link_flag() {
    let openblas = library("openblas");
    let environment = BTreeMap::from([("OPENBLAS_NUM_THREADS".to_string(), "2".to_string())]);
    let run = |objects: &[&Path], stack_size| {
        openblas.run("caller_stack", objects, stack_size, &environment, Duration::from_secs(60))
    };
    let folder = tempfile::tempdir().unwrap();
    let for_32_threads = |call: &str| {
        assert!(call.contains("-DMAX_CPU_NUMBER=64 "), "the build has another maximum of threads: {call}");
        assert!(call.contains(HEAP), "the build puts the job array on the heap no more: {call}");
        call.replace("-DMAX_CPU_NUMBER=64 ", "-DMAX_CPU_NUMBER=32 ").replace(HEAP, "")
    };
    let driver = openblas.object(true, "driver/level3/sgemm_thread_nn.o", folder.path(), for_32_threads);
    assert_eq!(run(&[&driver], LOST), SIGSEGV, "it no longer dies: the control controls nothing");
    assert_eq!(run(&[&driver], PROMISED), 0, "it dies with the link flag too");
    assert_eq!(run(&[], LOST), 0, "what ships puts the array on the heap");
}
