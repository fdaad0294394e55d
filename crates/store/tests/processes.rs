//! One cache, several real processes: entries stay whole, whoever is killed, corrupted or removed meanwhile. The test
//! starts its own program again for the other processes.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use process::Runner;
use store::inventory::{self, GcPolicy, Verdict};
use store::{Record, Store};

const ROLE: &str = "MUSLIN_TEST_CACHE_ROLE";
const ROOT: &str = "MUSLIN_TEST_CACHE_ROOT";
const ENTRY: &str = "tools/shared";
const FILES: usize = 8;

/// Slowly, so that others come in between.
fn fill(staging: &Path) -> anyhow::Result<Record> {
    let mut record = Record::default();
    for index in 0..FILES {
        std::fs::write(staging.join(format!("file-{index}")), format!("{index}").repeat(4096))?;
        std::thread::sleep(Duration::from_millis(2));
    }
    record.add_file(staging, "file-0")?;
    Ok(record)
}

/// One for all: a runner listens to the signals of its process.
fn runner() -> Runner {
    static RUNNER: OnceLock<Runner> = OnceLock::new();
    RUNNER.get_or_init(|| Runner::new(diag::Events::none()).unwrap()).clone()
}

fn store(root: &Path) -> Store {
    Store::new(root.into(), runner())
}

/// What a build does: takes the entry, and reads all of it.
fn take(root: &Path) {
    let store = store(root);
    let entry = store.get_or_create(ENTRY, fill).expect("an entry");
    for index in 0..FILES {
        // a build takes its time, and the collector must wait for it
        std::thread::sleep(Duration::from_millis(1));
        let text = std::fs::read_to_string(entry.path.join(format!("file-{index}"))).expect("a whole entry");
        assert_eq!(text, format!("{index}").repeat(4096));
    }
}

fn collect(root: &Path) {
    for doomed in inventory::gc_candidates(&inventory::list(root).unwrap_or_default(), &GcPolicy::default()) {
        let _ = inventory::remove(&doomed.held);
    }
}

fn play(role: &str, root: &Path) {
    match role {
        "take" => (0..20).for_each(|_| take(root)),
        "collect" => (0..2000).for_each(|_| {
            collect(root);
            std::thread::sleep(Duration::from_micros(200));
        }),
        "hang" => {
            let _ = store(root).get_or_create(ENTRY, |staging| {
                std::fs::write(staging.join("half"), "half")?;
                std::thread::sleep(Duration::from_secs(600));
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

/// The role that this process was started for, if a test started it.
fn role() -> Option<(String, PathBuf)> {
    Some((std::env::var(ROLE).ok()?, std::env::var_os(ROOT)?.into()))
}

fn verdict(root: &Path) -> Verdict {
    let all = inventory::list(root).unwrap();
    let held = all.iter().find(|held| held.name == ENTRY).unwrap_or_else(|| panic!("no entry in {all:?}"));
    inventory::verify(held, &runner()).unwrap()
}

#[test]
fn makers_and_a_collector_at_once_leave_a_whole_cache() {
    if let Some((role, root)) = role() {
        return play(&role, &root);
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "makers_and_a_collector_at_once_leave_a_whole_cache";
    let mut children: Vec<Child> =
        ["take", "collect", "take", "take"].iter().map(|role| start(name, role, folder.path())).collect();
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    take(folder.path());
    assert_eq!(verdict(folder.path()), Verdict::Holds);
    collect(folder.path());
    assert_eq!(inventory::list(folder.path()).unwrap(), []);
}

#[test]
fn a_maker_that_is_killed_leaves_nothing_that_is_trusted() {
    if let Some((role, root)) = role() {
        return play(&role, &root);
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut maker = start("a_maker_that_is_killed_leaves_nothing_that_is_trusted", "hang", root);
    let began = Instant::now();
    let is_at_it = || {
        inventory::list(root).unwrap_or_default().iter().any(|held| {
            held.kind == inventory::Kind::Staging && held.in_use && held.path.join("half").exists()
        })
    };
    while !is_at_it() {
        assert!(began.elapsed() < Duration::from_secs(30), "the maker did not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    collect(root);
    assert!(is_at_it(), "a collector took what another process was making");
    maker.kill().unwrap();
    assert_eq!(maker.wait().unwrap().signal(), Some(9));
    assert!(!root.join(ENTRY).exists());
    take(root);
    assert_eq!(verdict(root), Verdict::Holds);
    assert_eq!(inventory::list(root).unwrap().len(), 1, "what was half-made is swept");
}

#[test]
fn a_byte_that_flipped_is_made_again_by_the_next_process() {
    if let Some((role, root)) = role() {
        return play(&role, &root);
    }
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    take(root);
    let path = root.join(ENTRY).join("file-5");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert!(matches!(verdict(root), Verdict::Broken(why) if why[0].contains("`file-5` has changed")));
    let child = start("a_byte_that_flipped_is_made_again_by_the_next_process", "take", root);
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(verdict(root), Verdict::Holds);
}
