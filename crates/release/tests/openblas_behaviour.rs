//! What the patches of OpenBLAS change, seen in programs that run: each C test passes with the archive that ships and fails
//! with the unpatched object in front of it. Every program is linked with the 128 KiB that musl gives when the link flag is
//! lost, so that nothing here is owed to the flag. All programs end by themselves; the tests have an alarm clock.
//!
//! One object is compiled again where one object makes the difference: with the very call that the build made, out of its
//! log, so that the control differs from what ships in nothing else.

mod inputs;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use inputs::input;
use release::native::COMPILE_LOG;
use release::vendor::manifest::{FileList, verify_and_copy};
use release::vendor::unpack::unpack;
use release::vendor::{Input, Vendored};

const LOST: u64 = 128 << 10;
const PROMISED: u64 = 8 << 20;
/// As a shell reports them.
const SIGSEGV: i32 = 139;

fn vendor_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor/openblas")
}

/// The source tree that was built, or the one before the patches; made once for all tests.
fn tree(patched: bool) -> &'static Path {
    static TREES: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    TREES[usize::from(patched)].get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let tree = folder.join("tree");
        let tarball = input("MUSLIN_NATIVE_OPENBLAS_SOURCE");
        let vendored = Vendored::read(&vendor_folder()).unwrap();
        if patched {
            vendored.prepare(Input::Tarball(&tarball), &tree).unwrap();
        } else {
            let unpacked = folder.join("unpacked");
            std::fs::create_dir_all(&unpacked).unwrap();
            std::fs::create_dir_all(&tree).unwrap();
            unpack(&tarball, &unpacked).unwrap();
            let list = FileList::read(&vendor_folder().join(&vendored.manifest.files)).unwrap();
            verify_and_copy(&unpacked, &list, &tree).unwrap();
            std::fs::remove_dir_all(&unpacked).unwrap();
        }
        for name in &vendored.build.keeps {
            std::fs::copy(input("MUSLIN_NATIVE_OPENBLAS_DIR").join(name), tree.join(name)).unwrap();
        }
        tree
    })
}

/// Compiles one object as the build did, after `edit` on the call.
fn object(patched: bool, folder: &str, name: &str, into: &Path, edit: impl Fn(&str) -> String) -> PathBuf {
    let log = std::fs::read_to_string(input("MUSLIN_NATIVE_OPENBLAS_DIR").join(COMPILE_LOG)).unwrap();
    let wanted = format!(" -o {name}");
    let call = log
        .lines()
        .find(|line| {
            line.contains(" -c ") && line.split(" && ").next().is_some_and(|call| call.ends_with(&wanted))
        })
        .unwrap_or_else(|| panic!("the log of the build has no call that makes {name}"));
    let output = into.join(name);
    let call = edit(call).replace(&wanted, &format!(" -o {}", output.display()));
    let made =
        Command::new("sh").arg("-c").arg(&call).current_dir(tree(patched).join(folder)).output().unwrap();
    assert!(made.status.success(), "{call}\n{}", String::from_utf8_lossy(&made.stderr));
    output
}

/// Links a C test with `objects` in front of the archive, and runs it.
fn run(test: &str, objects: &[&Path], stack_size: u64) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join(test);
    let linked = Command::new(input("MUSLIN_CC"))
        .args(["-O2", "-static"])
        .arg(vendor_folder().join("tests").join(format!("{test}.c")))
        .args(objects)
        .arg(input("MUSLIN_NATIVE_OPENBLAS_DIR").join("libopenblas.a"))
        .arg(format!("-Wl,-z,stack-size={stack_size}"))
        .arg("-o")
        .arg(&program)
        .output()
        .unwrap();
    assert!(linked.status.success(), "{}", String::from_utf8_lossy(&linked.stderr));
    let output = Command::new(&program).env_clear().env("OPENBLAS_NUM_THREADS", "2").output().unwrap();
    eprintln!("{test}: {:?}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0))
}

/// The test holds with what ships, and does not without the patch.
fn check_patch(test: &str, changed: &[(&str, &str)]) {
    assert_eq!(run(test, &[], LOST), 0, "{test} does not hold with the archive that ships");
    let folder = tempfile::tempdir().unwrap();
    let unpatched: Vec<PathBuf> = changed
        .iter()
        .map(|(sources, name)| object(false, sources, name, folder.path(), str::to_string))
        .collect();
    let unpatched: Vec<&Path> = unpatched.iter().map(PathBuf::as_path).collect();
    assert_ne!(run(test, &unpatched, LOST), 0, "{test} holds without the patch: it proves nothing");
}

const POOL: (&str, &str) = ("driver/others", "blas_server.o");
const MEMORY: (&str, &str) = ("driver/others", "memory.o");
const DISPATCH: (&str, &str) = ("driver/others", "dynamic.o");
const LEVEL3_LOCK: (&str, &str) = ("driver/level3", "level3_thread_lock.o");

#[test]
fn a_worker_that_cannot_be_created_hangs_nothing() {
    check_patch("worker_cannot_be_created", &[POOL, MEMORY]);
}

#[test]
fn workers_have_their_stack_without_the_link_flag() {
    check_patch("worker_stack", &[POOL, MEMORY]);
}

#[test]
fn workers_have_names() {
    check_patch("worker_names", &[POOL, MEMORY]);
}

#[test]
fn every_kernel_set_can_be_chosen_and_multiplies() {
    check_patch("dispatch", &[DISPATCH]);
}

#[test]
fn a_fork_while_gemms_run_wedges_nobody() {
    check_patch("fork_while_gemm", &[POOL, MEMORY, LEVEL3_LOCK]);
}

#[test]
fn too_many_callers_and_no_memory_end_in_one_line() {
    check_patch("out_of_regions", &[POOL, MEMORY]);
}

/// The option that keeps the job array off the stack in what ships.
const HEAP: &str = "-DBLAS3_MEM_ALLOC_THRESHOLD=0";

/// The crash of the incident. With 32 threads at most, the job array of a GEMM takes 128 KiB of the caller's stack: a
/// thread with default attributes dies of it without the link flag, and lives with it.
#[test]
fn a_default_thread_that_calls_a_gemm_dies_without_the_link_flag() {
    let folder = tempfile::tempdir().unwrap();
    let for_32_threads = |call: &str| {
        assert!(call.contains("-DMAX_CPU_NUMBER=64 "), "the build has another maximum of threads: {call}");
        assert!(call.contains(HEAP), "the build puts the job array on the heap no more: {call}");
        call.replace("-DMAX_CPU_NUMBER=64 ", "-DMAX_CPU_NUMBER=32 ").replace(HEAP, "")
    };
    let driver = object(true, "driver/level3", "sgemm_thread_nn.o", folder.path(), for_32_threads);
    assert_eq!(
        run("caller_stack", &[&driver], LOST),
        SIGSEGV,
        "it no longer dies: the control controls nothing"
    );
    assert_eq!(run("caller_stack", &[&driver], PROMISED), 0, "it dies with the link flag too");
    assert_eq!(run("caller_stack", &[], LOST), 0, "what ships puts the array on the heap");
}
