//! The cache of the user's own: tools, sources and native builds, each entry named by what went into it.
//!
//! An entry is made in a staging folder beside its final place and renamed into it when it is whole, under a lock that
//! two processes share; so there is no moment at which a half-made entry has a name that anybody would trust. A hit is
//! verified by digest; an entry that does not hold is removed, said so, and made again. Who was given an entry holds it
//! (shared) until its store is dropped, so that nobody removes it meanwhile. [`inventory`] is the cache seen from outside.

pub mod atomic_write;
mod contents;
mod digest;
pub mod inventory;
mod lock;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

pub use self::contents::files_below;
pub use self::digest::{Digest, Fingerprint, is_sha256_hex, sha256_hex};
use self::lock::{LockMode, acquire, wait_for};
pub use self::lock::{lock_exclusive, lock_folder};
use diag::Diagnostic;
use process::Runner;

diag::codes! {
    /// A file of an entry differs from its record.
    pub ENTRY_CHANGED = Environment "cache-entry-changed": "a file of a cache entry differs from its recorded digest" {
        "cause": "a program wrote into the cache, or the disk is failing",
        "fix": "`cargo xtask cache verify --repair` removes broken entries; the next build makes them anew",
    }
    /// An entry vanished.
    pub ENTRY_REMOVED = Environment "cache-entry-removed": "a cache entry was removed while it was in use" {
        "cause": "two `cache gc` or repairs at once, or `rm` in the cache",
        "fix": "run the command again",
    }
    /// An entry is in use.
    pub ENTRY_IN_USE = Environment "cache-entry-in-use": "a cache entry is locked by another process" {
        "cause": "another build uses it",
        "fix": "wait for the build that uses it, then run the command again",
    }
    /// A file or folder cannot be written.
    pub CANNOT_WRITE = Environment "cannot-write": "a file or folder cannot be written" {
        "cause": "permissions, a read-only or full disk, or a file where a folder should be",
        "fix": "name another folder: `--cache-dir`, `--dist-dir`",
    }
}

const RECORD: &str = "entry.json";
const CONTENTS: &str = "contents.sha256";

/// Up to this size every file of an entry is compared at every hit, and not its key files alone: some 60 ms.
const WHOLLY_COMPARED_BYTES_MAX: u64 = 64 << 20;

pub struct Store {
    root: PathBuf,
    runner: Runner,
    /// Entries that this store gave out, each with its shared lock.
    held: Arc<Mutex<BTreeMap<PathBuf, File>>>,
}

/// A whole entry, verified when it was opened.
#[derive(Debug, Clone)]
pub struct Entry {
    pub path: PathBuf,
    pub record: Record,
    /// False when this run made it.
    pub reused: bool,
}

/// What is kept beside the files of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Key files, relative to the entry, with their digests.
    pub files: BTreeMap<String, Digest>,
    /// What is worth knowing later: versions that a suite had on that day, where a file came from.
    pub notes: BTreeMap<String, String>,
    /// Of the list of all files. Records of version 0.1.0 have none: then only key files can be compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contents: Option<Digest>,
    #[serde(default)]
    pub size_bytes: u64,
}

impl Record {
    /// Records the digest of a key file in an entry that is being made.
    pub fn add_file(&mut self, staging: &Path, file: &str) -> anyhow::Result<&mut Self> {
        self.files.insert(file.into(), Digest::of_file(&staging.join(file))?);
        Ok(self)
    }

    pub fn set_note(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.notes.insert(name.into(), value.into());
        self
    }

    /// Lists every file of a finished entry and writes list and record into it.
    fn finalize(&mut self, staging: &Path, runner: &Runner) -> anyhow::Result<()> {
        let list = contents::to_text(&contents::of_folder(staging, runner)?);
        self.contents = Some(Digest::of(list.as_bytes()));
        self.size_bytes = inventory::size_of(staging)?;
        let text = serde_json::to_string_pretty(self)?;
        for (name, text) in [(CONTENTS, list), (RECORD, text)] {
            std::fs::write(staging.join(name), text).map_err(|error| cannot_write(staging, error))?;
        }
        Ok(())
    }
}

impl Store {
    pub fn new(root: PathBuf, runner: Runner) -> Self {
        Self { root, runner, held: Arc::default() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an entry is or would be.
    pub fn entry_path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The entry if it is there and holds. Touches nothing.
    pub fn find(&self, name: &str) -> Option<Entry> {
        self.verify(&self.entry_path(name)).ok()
    }

    /// Locks an entry that [`Store::find`] returned, until the store is dropped, so that garbage collection skips it. Compares
    /// its record and not its files, which `find` has read.
    pub fn hold(&self, entry: &Entry) -> anyhow::Result<()> {
        let lock_path = lock_of(&entry.path);
        let shared = acquire(&lock_path, LockMode::Shared, &self.runner)?;
        let record = read_record(&entry.path).ok();
        if record.as_ref() != Some(&entry.record) {
            bail!(
                Diagnostic::new(&ENTRY_REMOVED, "the cache entry changed after it was verified")
                    .file(&entry.path)
                    .hint("run the command again")
            );
        }
        self.give(entry.clone(), shared).map(|_| ())
    }

    /// The entry, made by `make` in a staging folder if it is not there or does not hold.
    pub fn get_or_create(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> anyhow::Result<Record>,
    ) -> anyhow::Result<Entry> {
        let path = self.entry_path(name);
        let parent = path.parent().context("an entry without a folder")?;
        std::fs::create_dir_all(parent).map_err(|error| cannot_write(parent, error))?;
        let lock_path = lock_of(&path);

        let shared = acquire(&lock_path, LockMode::Shared, &self.runner)?;
        if let Ok(entry) = self.verify(&path) {
            return self.give(entry, shared);
        }
        self.runner.check()?;
        // Our own shared lock of an earlier look would keep us waiting for ourselves.
        drop(shared);
        self.locks().remove(&path);
        let alone = acquire(&lock_path, LockMode::Exclusive, &self.runner)?;
        if path.exists() {
            match self.verify(&path) {
                Ok(entry) => {
                    wait_for(&alone, LockMode::Shared, &lock_path, &self.runner)?;
                    return self.give(entry, alone);
                }
                Err(why) => {
                    self.runner.check()?;
                    self.runner.events().warn(
                        Diagnostic::new(
                            &ENTRY_CHANGED,
                            "a cache entry does not match its record; it is made again",
                        )
                        .file(&path)
                        .cause(format!("{why:#}")),
                    );
                    remove_entry(&path)?;
                }
            }
        }
        sweep(parent, &path);
        let staging = tempfile::Builder::new()
            .prefix(&format!(".staging-{}-", file_name(&path)))
            .tempdir_in(parent)
            .map_err(|error| cannot_write(parent, error))?;
        let mut record = make(staging.path())?;
        record.finalize(staging.path(), &self.runner)?;
        std::fs::rename(staging.path(), &path).with_context(|| format!("naming {}", path.display()))?;
        // It has a name of its own now; the guard would only look for the old one.
        let _ = staging.keep();
        wait_for(&alone, LockMode::Shared, &lock_path, &self.runner)?;
        self.give(Entry { path, record, reused: false }, alone)
    }

    /// Between two kinds of lock there is a moment without any.
    fn give(&self, entry: Entry, shared: File) -> anyhow::Result<Entry> {
        if !entry.path.join(RECORD).exists() {
            bail!(
                Diagnostic::new(
                    &ENTRY_REMOVED,
                    format!("{} was removed by another process as soon as it was made", entry.path.display())
                )
                .hint("run this again; two `cache gc` or repairs at once can do that")
            );
        }
        // "Last used" is the time of the lock file: the entry itself is never written again. Best effort: a cache on a
        // disk that cannot be written still serves.
        let now = rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW };
        let _ = rustix::fs::futimens(
            &shared,
            &rustix::fs::Timestamps { last_access: now, last_modification: now },
        );
        self.locks().insert(entry.path.clone(), shared);
        Ok(entry)
    }

    /// Key files always; all files where that is quick.
    fn verify(&self, path: &Path) -> anyhow::Result<Entry> {
        let record = read_record(path)?;
        for (file, expected) in &record.files {
            let found = Digest::of_file(&path.join(file))?;
            if found != *expected {
                return Err(Diagnostic::new(
                    &ENTRY_CHANGED,
                    format!("`{file}` has changed: expected {expected}, found {found}"),
                )
                .into());
            }
        }
        if record.contents.is_some()
            && record.size_bytes <= WHOLLY_COMPARED_BYTES_MAX
            && let Some(difference) = compare(path, &record, &self.runner)?.first()
        {
            return Err(Diagnostic::new(&ENTRY_CHANGED, difference.clone()).into());
        }
        Ok(Entry { path: path.into(), record, reused: true })
    }

    fn locks(&self) -> std::sync::MutexGuard<'_, BTreeMap<PathBuf, File>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the other entries of a store that keeps only what the last build made.
    pub fn prune_except(&self, name: &str) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(&self.root)?.flatten() {
            let other = entry.file_name();
            if entry.path().join(RECORD).exists() && other != name {
                remove_entry(&entry.path())?;
                let _ = std::fs::remove_file(lock_of(&entry.path()));
            }
        }
        Ok(())
    }
}

fn lock_of(entry: &Path) -> PathBuf {
    entry.with_file_name(format!(".{}.lock", file_name(entry)))
}

/// By way of a name that nobody trusts: an entry that a killed process removed by half would still have its own.
fn remove_entry(entry: &Path) -> anyhow::Result<()> {
    let doomed = entry.with_file_name(format!(".staging-{}-removed", file_name(entry)));
    let _ = std::fs::remove_dir_all(&doomed);
    std::fs::rename(entry, &doomed)
        .and_then(|()| std::fs::remove_dir_all(&doomed))
        .with_context(|| format!("removing {}", entry.display()))
}

/// "No space left" is the one write error whose remedy is not in the error text.
pub fn cannot_write(path: &Path, error: std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        std::io::ErrorKind::StorageFull => diag::DISK_FULL.sections[1].1,
        std::io::ErrorKind::PermissionDenied => {
            "name a folder that you may write: `--cache-dir`, `--dist-dir`"
        }
        std::io::ErrorKind::NotADirectory | std::io::ErrorKind::AlreadyExists => {
            "a file stands where a folder should be: move it, or name another folder: `--cache-dir`, `--dist-dir`"
        }
        std::io::ErrorKind::ReadOnlyFilesystem => "name a folder on a disk that can be written",
        _ => {
            "`df -h` and `ls -ld` on the folder show more; another one can be named: `--cache-dir`, `--dist-dir`"
        }
    };
    Diagnostic::new(&CANNOT_WRITE, format!("cannot write {}: {error}", path.display())).hint(hint).into()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Staging folders of this entry that a killed run left; we hold the entry's lock, so nobody is in them.
fn sweep(parent: &Path, path: &Path) {
    let prefix = format!(".staging-{}-", file_name(path));
    for leftover in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        if leftover.file_name().to_string_lossy().starts_with(&prefix) {
            let _ = std::fs::remove_dir_all(leftover.path());
        }
    }
}

fn read_record(path: &Path) -> anyhow::Result<Record> {
    let text = std::fs::read_to_string(path.join(RECORD)).context("its record is missing")?;
    serde_json::from_str(&text).context("its record cannot be read")
}

/// Every file against the list of the entry.
fn compare(path: &Path, record: &Record, runner: &Runner) -> anyhow::Result<Vec<String>> {
    let list = std::fs::read_to_string(path.join(CONTENTS)).context("its list of files is missing")?;
    if record.contents.as_ref() != Some(&Digest::of(list.as_bytes())) {
        return Ok(vec![format!("`{CONTENTS}` has changed")]);
    }
    Ok(contents::differences(&contents::parse(&list)?, &contents::of_folder(path, runner)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(text: &'static str) -> impl FnOnce(&Path) -> anyhow::Result<Record> {
        move |staging| {
            std::fs::write(staging.join("key"), text)?;
            let mut record = Record::default();
            record.add_file(staging, "key")?;
            Ok(record)
        }
    }

    #[test]
    fn an_entry_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().into(), Runner::without_signals());
        assert!(store.find("tools/a").is_none());
        assert!(!store.get_or_create("tools/a", make("one")).unwrap().reused);
        let again = store.get_or_create("tools/a", |_| panic!("made twice")).unwrap();
        assert!(again.reused);
        assert!(store.find("tools/a").is_some());
    }

    #[test]
    fn a_corrupted_entry_is_made_again() {
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
        let is_free = || lock::try_acquire(&lock_of(&entry.path), LockMode::Exclusive).unwrap().is_some();
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
    fn a_changed_file_that_is_no_key_file_is_seen_too() {
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
    fn a_record_of_the_first_version_serves_by_its_key_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().into(), Runner::without_signals());
        let entry = store.get_or_create("a", make("one")).unwrap();
        std::fs::remove_file(entry.path.join(CONTENTS)).unwrap();
        let old =
            format!("{{\"files\":{},\"notes\":{{}}}}", serde_json::to_string(&entry.record.files).unwrap());
        std::fs::write(entry.path.join(RECORD), old).unwrap();
        assert!(store.get_or_create("a", |_| panic!("made again")).unwrap().reused);
        std::fs::write(entry.path.join("key"), "two").unwrap();
        assert!(store.find("a").is_none());
    }

    #[test]
    fn what_was_given_out_is_held_until_the_store_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().into(), Runner::without_signals());
        let entry = store.get_or_create("a", make("one")).unwrap();
        let is_free = || lock::try_acquire(&lock_of(&entry.path), LockMode::Exclusive).unwrap().is_some();
        assert!(!is_free());
        // nor does it wait for itself when the entry breaks under its hands
        std::fs::write(entry.path.join("key"), "two").unwrap();
        assert!(!store.get_or_create("a", make("one")).unwrap().reused);
        drop(store);
        assert!(is_free());
    }

    #[test]
    fn a_failed_make_leaves_no_entry_and_no_staging() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().into(), Runner::without_signals());
        let failed = store.get_or_create("a", |staging| {
            std::fs::write(staging.join("key"), "half")?;
            anyhow::bail!("no luck")
        });
        assert!(failed.is_err());
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, [".a.lock"], "only the lock may stay");
    }

    #[test]
    fn a_killed_run_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().into(), Runner::without_signals());
        std::fs::create_dir(folder.path().join(".staging-a-dead")).unwrap();
        store.get_or_create("a", make("one")).unwrap();
        assert!(!folder.path().join(".staging-a-dead").exists());
    }

    #[test]
    fn two_makers_at_once_make_one_entry() {
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
}
