//! Entries by name: found, or made once.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use diag::Diagnostic;
use process::Runner;
use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

use crate::codes::{ENTRY_CHANGED, ENTRY_REMOVED};
use crate::entry::CacheEntry;
use crate::layout::{RECORD, lock_of, remove_entry, remove_leftovers, staging_prefix};
use crate::lock::{LockMode, acquire, wait_for};
use crate::record::Record;
use crate::write_error::cannot_write;

/// A cache folder. Keeps a shared lock on each entry that it returned until it is dropped.
pub struct Store {
    root: PathBuf,
    runner: Runner,
    /// Shared locks of the returned entries, by path.
    locks: Mutex<BTreeMap<PathBuf, File>>,
}

impl Store {
    /// The cache in the folder `root`, which may not exist yet.
    pub fn new(root: PathBuf, runner: Runner) -> Self {
        Self { root, runner, locks: Mutex::default() }
    }

    /// The cache folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of an entry, whether it exists or not.
    pub fn entry_path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The entry if it exists and matches its record. Changes nothing and takes no lock.
    pub fn find(&self, name: &str) -> Option<CacheEntry> {
        self.open(&self.entry_path(name)).ok()
    }

    /// Locks an entry that [`Store::find`] returned, until the store is dropped, so that garbage collection skips it. Compares
    /// its record and not its files, which `find` has read.
    pub fn hold(&self, entry: &CacheEntry) -> anyhow::Result<()> {
        let shared = acquire(&lock_of(&entry.path), LockMode::Shared, &self.runner)?;
        if Record::read(&entry.path).ok().as_ref() != Some(&entry.record) {
            return Err(Diagnostic::new(&ENTRY_REMOVED, "the cache entry changed after it was verified")
                .file(&entry.path)
                .hint("run the command again")
                .into());
        }
        self.keep(entry.clone(), shared).map(|_| ())
    }

    /// The entry; if it does not exist or does not match its record, `make` makes it in a staging folder.
    pub fn get_or_create(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> anyhow::Result<Record>,
    ) -> anyhow::Result<CacheEntry> {
        let path = self.entry_path(name);
        let parent = path.parent().context("an entry without a parent folder")?;
        std::fs::create_dir_all(parent).map_err(|error| cannot_write(parent, error))?;
        let lock_path = lock_of(&path);

        let shared = acquire(&lock_path, LockMode::Shared, &self.runner)?;
        if let Ok(entry) = self.open(&path) {
            return self.keep(entry, shared);
        }
        self.runner.check()?;
        // A shared lock of this store, from an earlier call, would block the exclusive one.
        drop(shared);
        self.locks().remove(&path);
        let exclusive = acquire(&lock_path, LockMode::Exclusive, &self.runner)?;
        if path.exists() {
            match self.open(&path) {
                Ok(entry) => {
                    wait_for(&exclusive, LockMode::Shared, &lock_path, &self.runner)?;
                    return self.keep(entry, exclusive);
                }
                Err(error) => {
                    self.runner.check()?;
                    self.warn_of_change(&path, &error);
                    remove_entry(&path)?;
                }
            }
        }
        remove_leftovers(&path);
        let staging = tempfile::Builder::new()
            .prefix(&staging_prefix(&path))
            .tempdir_in(parent)
            .map_err(|error| cannot_write(parent, error))?;
        let mut record = make(staging.path())?;
        record.finalize(staging.path(), &self.runner)?;
        std::fs::rename(staging.path(), &path)
            .with_context(|| format!("renaming the staging folder to {}", path.display()))?;
        // The folder has its final name; the guard would remove the old one.
        let _ = staging.keep();
        wait_for(&exclusive, LockMode::Shared, &lock_path, &self.runner)?;
        self.keep(CacheEntry { path, record, reused: false }, exclusive)
    }

    /// Removes the other entries of a store that keeps only those of the last build.
    pub fn prune_except(&self, name: &str) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(&self.root)?.flatten() {
            if entry.path().join(RECORD).exists() && entry.file_name() != name {
                remove_entry(&entry.path())?;
                let _ = std::fs::remove_file(lock_of(&entry.path()));
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path) -> anyhow::Result<CacheEntry> {
        CacheEntry::open(path, &self.runner)
    }

    /// Keeps the shared lock. The conversion from an exclusive lock is not atomic, so the entry is looked up once more.
    fn keep(&self, entry: CacheEntry, shared: File) -> anyhow::Result<CacheEntry> {
        if !entry.path.join(RECORD).exists() {
            return Err(Diagnostic::new(
                &ENTRY_REMOVED,
                "another process removed an entry when it was complete",
            )
            .file(&entry.path)
            .hint("run this again; two `cache gc` or repairs at the same time can remove it")
            .into());
        }
        // The time of the last use is that of the lock file: the entry itself is never written again. A cache on a
        // read-only disk still works, so errors are ignored.
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let _ = futimens(&shared, &Timestamps { last_access: now, last_modification: now });
        self.locks().insert(entry.path.clone(), shared);
        Ok(entry)
    }

    fn warn_of_change(&self, path: &Path, error: &anyhow::Error) {
        let warning =
            Diagnostic::new(&ENTRY_CHANGED, "a cache entry does not match its record; it is made again");
        self.runner.events().warn(warning.file(path).cause(format!("{error:#}")));
    }

    fn locks(&self) -> MutexGuard<'_, BTreeMap<PathBuf, File>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
