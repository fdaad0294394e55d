//! Entries in a temporary cache.

use super::*;
use crate::layout::CONTENTS;
use crate::lock::try_acquire;

fn make(text: &'static str) -> impl FnOnce(&Path) -> anyhow::Result<Record> {
    move |staging| {
        std::fs::write(staging.join("key"), text)?;
        let mut record = Record::default();
        record.add_file(staging, "key")?;
        Ok(record)
    }
}

#[test]
fn makes_an_entry_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().into(), Runner::without_signals());
    assert!(store.find("tools/a").is_none());
    assert!(!store.get_or_create("tools/a", make("one")).unwrap().reused);
    let again = store.get_or_create("tools/a", |_| panic!("made twice")).unwrap();
    assert!(again.reused);
    assert!(store.find("tools/a").is_some());
}

#[test]
fn makes_a_corrupted_entry_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().into(), Runner::without_signals());
    let entry = store.get_or_create("a", make("one")).unwrap();
    std::fs::write(entry.path.join("key"), "two").unwrap();
    assert!(store.find("a").is_none());
    assert!(!store.get_or_create("a", make("one")).unwrap().reused);
    assert_eq!(std::fs::read_to_string(entry.path.join("key")).unwrap(), "one");
}

#[test]
fn an_entry_that_was_found_can_be_held_unless_it_changed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().into(), Runner::without_signals());
    store.get_or_create("a", make("one")).unwrap();
    drop(store);
    let store = Store::new(folder.path().into(), Runner::without_signals());
    let entry = store.find("a").unwrap();
    let is_free = || try_acquire(&lock_of(&entry.path), LockMode::Exclusive).unwrap().is_some();
    assert!(is_free());
    store.hold(&entry).unwrap();
    assert!(!is_free());
    drop(store);
    let store = Store::new(folder.path().into(), Runner::without_signals());
    std::fs::write(entry.path.join("key"), "two").unwrap();
    store.get_or_create("a", make("two")).unwrap();
    let error = store.hold(&entry).unwrap_err();
    assert!(diag::has_code(&error, &ENTRY_REMOVED), "{error:#}");
}

#[test]
fn detects_a_change_of_any_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().into(), Runner::without_signals());
    let with_header = |staging: &Path| {
        std::fs::write(staging.join("config.h"), "#define A 1")?;
        make("one")(staging)
    };
    let entry = store.get_or_create("a", with_header).unwrap();
    std::fs::write(entry.path.join("config.h"), "#define A 2").unwrap();
    assert!(store.find("a").is_none());
    assert!(!store.get_or_create("a", with_header).unwrap().reused);
    std::fs::write(entry.path.join("stray.h"), "").unwrap();
    assert!(store.find("a").is_none());
}

#[test]
fn accepts_a_record_of_version_0_1_0_by_its_key_files() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().into(), Runner::without_signals());
    let entry = store.get_or_create("a", make("one")).unwrap();
    std::fs::remove_file(entry.path.join(CONTENTS)).unwrap();
    let old = format!("{{\"files\":{},\"notes\":{{}}}}", serde_json::to_string(&entry.record.files).unwrap());
    std::fs::write(entry.path.join(RECORD), old).unwrap();
    assert!(store.get_or_create("a", |_| panic!("made twice")).unwrap().reused);
    std::fs::write(entry.path.join("key"), "two").unwrap();
    assert!(store.find("a").is_none());
}

#[test]
fn keeps_a_lock_on_returned_entries_until_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().into(), Runner::without_signals());
    let entry = store.get_or_create("a", make("one")).unwrap();
    let is_unlocked = || try_acquire(&lock_of(&entry.path), LockMode::Exclusive).unwrap().is_some();
    assert!(!is_unlocked());
    // and the store does not block itself when the entry changes
    std::fs::write(entry.path.join("key"), "two").unwrap();
    assert!(!store.get_or_create("a", make("one")).unwrap().reused);
    drop(store);
    assert!(is_unlocked());
}

#[test]
fn a_failed_make_leaves_no_entry_and_no_staging_folder() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().into(), Runner::without_signals());
    let failed = store.get_or_create("a", |staging| {
        std::fs::write(staging.join("key"), "half")?;
        anyhow::bail!("it failed")
    });
    assert!(failed.is_err());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, [".a.lock"], "only the lock may stay");
}

#[test]
fn removes_the_staging_folder_of_a_killed_run() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().into(), Runner::without_signals());
    std::fs::create_dir(folder.path().join(".staging-a-dead")).unwrap();
    store.get_or_create("a", make("one")).unwrap();
    assert!(!folder.path().join(".staging-a-dead").exists());
}

#[test]
fn concurrent_callers_make_one_entry() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_path_buf();
    let made = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let entry =
                    Store::new(root.clone(), Runner::without_signals()).get_or_create("a", |staging| {
                        made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        make("one")(staging)
                    });
                assert_eq!(std::fs::read(entry.unwrap().path.join("key")).unwrap(), b"one");
            });
        }
    });
    assert_eq!(made.into_inner(), 1);
}

#[test]
fn a_record_that_names_another_digest_than_the_list_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().into(), Runner::without_signals());
    let entry = store.get_or_create("a", make("one")).unwrap();
    let path = entry.path.join(RECORD);
    let text = std::fs::read_to_string(&path).unwrap();
    let digest = entry.record.files["key"].as_str();
    std::fs::write(&path, text.replacen(digest, crate::Digest::of(b"two").as_str(), 1)).unwrap();
    assert!(store.find("a").is_none());
}
