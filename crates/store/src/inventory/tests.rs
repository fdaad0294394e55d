//! A small cache with one thing of each kind.

use super::*;
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

    /// A store that lets go of what it made.
    fn make(&self, name: &str) {
        self.store().get_or_create(name, filled(name)).unwrap();
    }

    fn store(&self) -> Store {
        Store::new(self.root().into(), Runner::without_signals())
    }

    fn find(&self, name: &str) -> CacheEntryInfo {
        let all = list(self.root()).unwrap();
        all.iter().find(|held| held.name == name).unwrap_or_else(|| panic!("no {name} in {all:?}")).clone()
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

fn names(doomed: &[GcCandidate]) -> Vec<&str> {
    doomed.iter().map(|doomed| doomed.held.name.as_str()).collect()
}

#[test]
fn everything_is_listed_for_what_it_is() {
    let cache = Cache::new();
    assert!(list(&cache.root().join("nothing")).unwrap().is_empty());
    cache.make("tools/a");
    cache.make("native/b");
    std::fs::remove_file(cache.root().join("native/b/entry.json")).unwrap();
    cache.write("native/.staging-c-x1y2z3/half", "half");
    cache.write("native/.c.lock", "");
    cache.write("zig/o/1/x.o", "object");
    cache.write("tools/by-pip/lib.py", "");
    let found: Vec<(String, Kind, bool)> = list(cache.root())
        .unwrap()
        .into_iter()
        .map(|held| (held.name, held.kind, held.state == State::Complete))
        .collect();
    let expected = [
        ("native/.c.lock", Kind::Lock, false),
        ("native/.staging-c-x1y2z3", Kind::Staging, false),
        ("native/b", Kind::Entry, false),
        ("tools/a", Kind::Entry, true),
        ("tools/by-pip", Kind::Scratch, false),
        ("zig", Kind::Scratch, false),
    ];
    assert_eq!(found, expected.map(|(name, kind, whole)| (name.to_string(), kind, whole)));
    assert_eq!(cache.find("tools/a").files, 4);
    assert!(
        matches!(&cache.find("native/b").state, State::Broken(why) if why[0].contains("record is missing"))
    );
}

#[test]
fn every_kind_of_damage_is_named() {
    type Damage<'a> = (&'a str, &'a dyn Fn(&Path));
    let damage: [Damage<'_>; 6] = [
        ("`key` has changed", &|entry| std::fs::write(entry.join("key"), "flipped").unwrap()),
        ("`other` has changed", &|entry| std::fs::write(entry.join("other"), "flipped").unwrap()),
        ("`other` is missing", &|entry| std::fs::remove_file(entry.join("other")).unwrap()),
        ("`new` was not there", &|entry| std::fs::write(entry.join("new"), "").unwrap()),
        ("`contents.sha256` has changed", &|entry| {
            std::fs::write(entry.join("contents.sha256"), "").unwrap()
        }),
        ("record cannot be read", &|entry| std::fs::write(entry.join("entry.json"), "{").unwrap()),
    ];
    for (expected, break_it) in damage {
        let cache = Cache::new();
        cache.make("tools/a");
        let held = cache.find("tools/a");
        assert_eq!(verify(&held, &Runner::without_signals()).unwrap(), Verdict::Holds);
        break_it(&held.path);
        match verify(&held, &Runner::without_signals()).unwrap() {
            Verdict::Broken(problems) => {
                assert!(
                    problems.iter().any(|problem| problem.contains(expected)),
                    "{expected}: {problems:?}"
                );
            }
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[test]
fn a_record_without_a_list_is_not_called_whole() {
    let cache = Cache::new();
    cache.make("tools/a");
    let held = cache.find("tools/a");
    let record = std::fs::read_to_string(held.path.join("entry.json")).unwrap();
    let mut record: serde_json::Value = serde_json::from_str(&record).unwrap();
    record.as_object_mut().unwrap().remove("contents");
    std::fs::write(held.path.join("entry.json"), record.to_string()).unwrap();
    assert_eq!(verify(&held, &Runner::without_signals()).unwrap(), Verdict::KeyFilesOnly);
}

#[test]
fn without_a_wish_only_what_the_plan_does_not_use_goes() {
    let cache = Cache::new();
    for name in ["tools/a", "tools/b"] {
        cache.make(name);
    }
    cache.write("zig/o/x", "x");
    cache.write("tools/.staging-a-dead", "");
    let wish = GcPolicy { planned: vec![cache.root().join("tools/a/bin/tool")], ..GcPolicy::default() };
    let gone = gc_candidates(&list(cache.root()).unwrap(), &wish);
    assert_eq!(names(&gone), ["tools/.staging-a-dead", "tools/b"]);
    let gone = gc_candidates(&list(cache.root()).unwrap(), &GcPolicy { scratch: true, ..wish });
    assert!(names(&gone).contains(&"zig"));
}

#[test]
fn age_and_size_choose_the_least_recently_used() {
    let cache = Cache::new();
    for (name, days) in [("tools/new", 1), ("tools/old", 30), ("tools/older", 60), ("tools/planned", 90)] {
        cache.make(name);
        cache.age(name, days);
    }
    let all = list(cache.root()).unwrap();
    let planned = vec![cache.root().join("tools/planned")];
    let wish = GcPolicy { planned, ..GcPolicy::default() };
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    let older = gc_candidates(&all, &GcPolicy { older_than: days(20), ..wish.clone() });
    assert_eq!(names(&older), ["tools/older", "tools/old"]);
    let total: u64 = all.iter().map(|held| held.size_bytes).sum();
    let smaller = gc_candidates(&all, &GcPolicy { bytes_max: Some(total - 1), ..wish.clone() });
    assert_eq!(names(&smaller), ["tools/older"]);
    assert!(gc_candidates(&all, &GcPolicy { bytes_max: Some(total), ..wish.clone() }).is_empty());
    assert_eq!(
        gc_candidates(&all, &GcPolicy { bytes_max: Some(0), ..wish }).len(),
        3,
        "the planned one stays"
    );
}

#[test]
fn what_is_held_stays() {
    let cache = Cache::new();
    let store = cache.store();
    store.get_or_create("tools/a", filled("tools/a")).unwrap();
    let before = cache.find("tools/a");
    assert!(before.in_use);
    assert!(gc_candidates(&list(cache.root()).unwrap(), &GcPolicy::default()).is_empty());
    assert!(!remove(&before).unwrap(), "it was taken after it was listed");
    assert!(before.path.exists());
    drop(store);
    let gone = gc_candidates(&list(cache.root()).unwrap(), &GcPolicy::default());
    assert!(remove(&gone[0].held).unwrap());
    assert!(list(cache.root()).unwrap().is_empty(), "neither entry nor lock is left");
}

#[test]
fn leftovers_and_their_locks_go() {
    let cache = Cache::new();
    cache.write("native/.staging-c-x1y2z3/half", "half");
    cache.write("native/.c.lock", "");
    for doomed in gc_candidates(&list(cache.root()).unwrap(), &GcPolicy::default()) {
        assert!(remove(&doomed.held).unwrap());
    }
    assert_eq!(std::fs::read_dir(cache.root().join("native")).unwrap().count(), 0);
}
