//! One cache, several real processes: entries stay complete while processes are killed and files are corrupted or removed. The
//! test program starts itself again for the other processes.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use process::Runner;
use store::inventory::{self, GcPolicy, Verification};
use store::{Record, Store};

const ROLE: &str = "MUSLIN_TEST_CACHE_ROLE";
const ROOT: &str = "MUSLIN_TEST_CACHE_ROOT";
const ENTRY: &str = "tools/shared";
const FILES: usize = 8;

/// Makes an entry slowly, so that other processes interleave.
fn fill(staging: &Path) -> anyhow::Result<Record> {
    let mut record = Record::default();
    for index in 0..FILES {
        std::fs::write(staging.join(format!("file-{index}")), format!("{index}").repeat(4096))?;
        std::thread::sleep(Duration::from_millis(2));
    }
    record.add_file(staging, "file-0")?;
    Ok(record)
}

/// One for all threads: a runner registers signal handlers.
fn runner() -> Runner {
    static RUNNER: OnceLock<Runner> = OnceLock::new();
    RUNNER.get_or_init(|| Runner::new(diag::Events::none()).unwrap()).clone()
}

fn store(root: &Path) -> Store {
    Store::new(root.into(), runner())
}

/// Uses the entry as a build does: gets it and reads all of it.
fn use_entry(root: &Path) {
    let store = store(root);
    let entry = store.get_or_create(ENTRY, fill).expect("an entry");
    for index in 0..FILES {
        // slow enough for the collector to run meanwhile
        std::thread::sleep(Duration::from_millis(1));
        let text =
            std::fs::read_to_string(entry.path.join(format!("file-{index}"))).expect("a complete entry");
        assert_eq!(text, format!("{index}").repeat(4096));
    }
}

fn collect(root: &Path) {
    for candidate in
        inventory::gc_candidates(&inventory::list(root).unwrap_or_default(), &GcPolicy::default())
    {
        let _ = inventory::remove(&candidate.item);
    }
}

fn run_role(role: &str, root: &Path) {
    match role {
        "use" => (0..20).for_each(|_| use_entry(root)),
        "collect" => (0..2000).for_each(|_| {
            collect(root);
            std::thread::sleep(Duration::from_micros(200));
        }),
        "hang" => {
            let _ = store(root).get_or_create(ENTRY, |staging| {
                std::fs::write(staging.join("half"), "half")?;
                std::thread::sleep(Duration::from_mins(10));
                anyhow::bail!("was not killed")
            });
        }
        _ => panic!("no role `{role}`"),
    }
}

fn start(test: &str, role: &str, root: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role)
        .env(ROOT, root)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The role of this process, if a test started it.
#[expect(clippy::disallowed_methods, reason = "inputs of tests are variables")]
fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(ROOT)?.into()))
}

fn verify(root: &Path) -> Verification {
    let all = inventory::list(root).unwrap();
    let entry = all.iter().find(|item| item.name == ENTRY).unwrap_or_else(|| panic!("no entry in {all:?}"));
    inventory::verify(entry, &runner()).unwrap()
}

#[test]
fn concurrent_makers_and_a_collector_leave_a_complete_cache() {
    if let Some((role, root)) = role() {
        return run_role(&role, &root);
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "concurrent_makers_and_a_collector_leave_a_complete_cache";
    let mut children: Vec<Child> =
        ["use", "collect", "use", "use"].iter().map(|role| start(name, role, folder.path())).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    use_entry(folder.path());
    assert_eq!(verify(folder.path()), Verification::Verified);
    collect(folder.path());
    assert_eq!(inventory::list(folder.path()).unwrap(), []);
}

#[test]
fn a_killed_maker_leaves_no_entry() {
    if let Some((role, root)) = role() {
        return run_role(&role, &root);
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut maker = start("a_killed_maker_leaves_no_entry", "hang", root);
    let began = Instant::now();
    let is_making = || {
        inventory::list(root).unwrap_or_default().iter().any(|item| {
            item.kind == inventory::CacheItemKind::Staging && item.in_use && item.path.join("half").exists()
        })
    };
    while !is_making() {
        assert!(began.elapsed() < Duration::from_secs(30), "the maker did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    collect(root);
    assert!(is_making(), "the collector removed the staging folder of a running process");
    maker.kill().unwrap();
    assert_eq!(maker.wait().unwrap().signal(), Some(9));
    assert!(!root.join(ENTRY).exists());
    use_entry(root);
    assert_eq!(verify(root), Verification::Verified);
    assert_eq!(inventory::list(root).unwrap().len(), 1, "the staging folder is removed");
}

#[test]
fn the_next_process_makes_a_corrupted_entry_again() {
    if let Some((role, root)) = role() {
        return run_role(&role, &root);
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    use_entry(root);
    let path = root.join(ENTRY).join("file-5");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let Verification::Broken(problems) = verify(root) else { panic!("the entry is broken") };
    insta::assert_snapshot!(problems.join("\n"), @"`file-5` has changed: expected 1252602fa849acee588b513308777634f80524cf4d9a76c5efd20b837e4b3315, found b9c43601d8337476c51f0c8a7da50ce3041b2f55f093ff6b82de366187b950d9");
    let child = start("the_next_process_makes_a_corrupted_entry_again", "use", root);
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(verify(root), Verification::Verified);
}
