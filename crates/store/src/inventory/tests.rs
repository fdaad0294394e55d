//! A small cache with one item of each kind.

use std::path::Path;
use std::time::Duration;

use process::Runner;

use super::*;
use crate::layout::lock_of;
use crate::{Record, Store};

struct Cache {
    folder: tempfile::TempDir,
}

impl Cache {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    /// Makes an entry and releases its lock.
    fn make(&self, name: &str) {
        self.store().get_or_create(name, filled(name)).unwrap();
    }

    fn store(&self) -> Store {
        Store::new(self.root().into(), Runner::without_signals())
    }

    fn find(&self, name: &str) -> CacheItem {
        let all = list(self.root()).unwrap();
        all.iter().find(|item| item.name == name).unwrap_or_else(|| panic!("no {name} in {all:?}")).clone()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn age(&self, name: &str, days: u64) {
        let then = std::fs::metadata(self.root()).unwrap().modified().unwrap();
        let lock = std::fs::File::options().write(true).open(lock_of(&self.root().join(name))).unwrap();
        lock.set_modified(then - Duration::from_secs(days * 86_400)).unwrap();
    }
}

fn filled(name: &str) -> impl FnOnce(&Path) -> anyhow::Result<Record> {
    let text = format!("{name:-<1000}");
    move |staging| {
        std::fs::write(staging.join("key"), &text)?;
        std::fs::write(staging.join("other"), "other")?;
        let mut record = Record::default();
        record.add_file(staging, "key")?;
        Ok(record)
    }
}

fn names(candidates: &[GcCandidate]) -> Vec<&str> {
    candidates.iter().map(|candidate| candidate.item.name.as_str()).collect()
}

#[test]
fn lists_every_item_with_its_kind() {
    let cache = Cache::new();
    assert!(list(&cache.root().join("nothing")).unwrap().is_empty());
    cache.make("tools/a");
    cache.make("native/b");
    std::fs::remove_file(cache.root().join("native/b/entry.json")).unwrap();
    cache.write("native/.staging-c-x1y2z3/half", "half");
    cache.write("native/.c.lock", "");
    cache.write("zig/o/1/x.o", "object");
    cache.write("tools/by-pip/lib.py", "");
    let found: Vec<(String, CacheItemKind, bool)> = list(cache.root())
        .unwrap()
        .into_iter()
        .map(|item| (item.name, item.kind, item.state == CacheItemState::Complete))
        .collect();
    let expected = [
        ("native/.c.lock", CacheItemKind::Lock, false),
        ("native/.staging-c-x1y2z3", CacheItemKind::Staging, false),
        ("native/b", CacheItemKind::Entry, false),
        ("tools/a", CacheItemKind::Entry, true),
        ("tools/by-pip", CacheItemKind::Scratch, false),
        ("zig", CacheItemKind::Scratch, false),
    ];
    assert_eq!(found, expected.map(|(name, kind, complete)| (name.to_string(), kind, complete)));
    assert_eq!(cache.find("tools/a").files, 4);
    let problem = "its record is missing: No such file or directory (os error 2)";
    assert_eq!(cache.find("native/b").state, CacheItemState::Broken(vec![problem.into()]));
}

#[test]
fn names_every_kind_of_damage() {
    let damage: [&dyn Fn(&Path); 6] = [
        &|entry| std::fs::write(entry.join("key"), "flipped").unwrap(),
        &|entry| std::fs::write(entry.join("other"), "flipped").unwrap(),
        &|entry| std::fs::remove_file(entry.join("other")).unwrap(),
        &|entry| std::fs::write(entry.join("new"), "").unwrap(),
        &|entry| std::fs::write(entry.join("contents.sha256"), "").unwrap(),
        &|entry| std::fs::write(entry.join("entry.json"), "{").unwrap(),
    ];
    let problems = damage.map(|break_it| {
        let cache = Cache::new();
        cache.make("tools/a");
        let item = cache.find("tools/a");
        assert_eq!(verify(&item, &Runner::without_signals()).unwrap(), Verification::Verified);
        break_it(&item.path);
        match verify(&item, &Runner::without_signals()).unwrap() {
            Verification::Broken(problems) => problems.join("\n"),
            other => panic!("{other:?}"),
        }
    });
    insta::assert_snapshot!(problems.join("\n"), @"
    `key` has changed: expected bb64e5949446294d54c1afbde069c95fa8b34f50668d3cc3f081695d3ba0f21b, found bf6e7814c35d7231fb53f7ec0c85745df062bf65e96742df48cbb966b7129b71
    `other` has changed: expected d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa, found bf6e7814c35d7231fb53f7ec0c85745df062bf65e96742df48cbb966b7129b71
    `other` is missing
    `new` was added after the entry was made
    `contents.sha256` has changed
    its record cannot be read: EOF while parsing an object at line 1 column 1
    ");
}

#[test]
fn does_not_verify_an_entry_without_a_list() {
    let cache = Cache::new();
    cache.make("tools/a");
    let item = cache.find("tools/a");
    let record = std::fs::read_to_string(item.path.join("entry.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record.as_object_mut().unwrap().remove("contents");
    std::fs::write(item.path.join("entry.json"), record.to_string()).unwrap();
    assert_eq!(verify(&item, &Runner::without_signals()).unwrap(), Verification::KeyFilesOnly);
}

#[test]
fn removes_only_unplanned_entries_by_default() {
    let cache = Cache::new();
    for name in ["tools/a", "tools/b"] {
        cache.make(name);
    }
    cache.write("zig/o/x", "x");
    cache.write("tools/.staging-a-dead", "");
    let policy = GcPolicy { planned: vec![cache.root().join("tools/a/bin/tool")], ..GcPolicy::default() };
    let candidates = gc_candidates(&list(cache.root()).unwrap(), &policy);
    assert_eq!(names(&candidates), ["tools/.staging-a-dead", "tools/b"]);
    let candidates = gc_candidates(&list(cache.root()).unwrap(), &GcPolicy { scratch: true, ..policy });
    assert!(names(&candidates).contains(&"zig"));
}

#[test]
fn removes_the_least_recently_used_entries_first() {
    let cache = Cache::new();
    for (name, days) in [("tools/new", 1), ("tools/old", 30), ("tools/older", 60), ("tools/planned", 90)] {
        cache.make(name);
        cache.age(name, days);
    }
    let all = list(cache.root()).unwrap();
    let planned = vec![cache.root().join("tools/planned")];
    let policy = GcPolicy { planned, ..GcPolicy::default() };
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let older = gc_candidates(&all, &GcPolicy { older_than: days(20), ..policy.clone() });
    assert_eq!(names(&older), ["tools/older", "tools/old"]);
    let total: u64 = all.iter().map(|item| item.size_bytes).sum();
    let smaller = gc_candidates(&all, &GcPolicy { bytes_max: Some(total - 1), ..policy.clone() });
    assert_eq!(names(&smaller), ["tools/older"]);
    assert!(gc_candidates(&all, &GcPolicy { bytes_max: Some(total), ..policy.clone() }).is_empty());
    assert_eq!(
        gc_candidates(&all, &GcPolicy { bytes_max: Some(0), ..policy }).len(),
        3,
        "the planned one is kept"
    );
}

#[test]
fn keeps_entries_in_use() {
    let cache = Cache::new();
    let store = cache.store();
    store.get_or_create("tools/a", filled("tools/a")).unwrap();
    let before = cache.find("tools/a");
    assert!(before.in_use);
    assert!(gc_candidates(&list(cache.root()).unwrap(), &GcPolicy::default()).is_empty());
    assert!(!remove(&before).unwrap(), "it was locked after it was listed");
    assert!(before.path.exists());
    drop(store);
    let candidates = gc_candidates(&list(cache.root()).unwrap(), &GcPolicy::default());
    assert!(remove(&candidates[0].item).unwrap());
    assert!(list(cache.root()).unwrap().is_empty(), "neither entry nor lock remains");
}

#[test]
fn removes_leftovers_and_their_locks() {
    let cache = Cache::new();
    cache.write("native/.staging-c-x1y2z3/half", "half");
    cache.write("native/.c.lock", "");
    for candidate in gc_candidates(&list(cache.root()).unwrap(), &GcPolicy::default()) {
        assert!(remove(&candidate.item).unwrap());
    }
    assert_eq!(std::fs::read_dir(cache.root().join("native")).unwrap().count(), 0);
}
