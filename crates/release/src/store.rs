//! The cache of the user's own: tools, sources and native builds, each entry named by what went into it.
//!
//! An entry is made in a staging folder beside its final place and renamed into it when it is whole, under a lock that
//! two processes share; so there is no moment at which a half-made entry has a name that anybody would trust. A hit is
//! verified by the digests of its key files; an entry that does not hold is removed, said so, and made again.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::failure::Failure;
use crate::run::Runner;

const RECORD: &str = "entry.json";

pub struct Store {
    root: PathBuf,
    runner: Runner,
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
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Record {
    /// Key files, relative to the entry, with their digests.
    pub files: BTreeMap<String, Digest>,
    /// What is worth knowing later: versions that a suite had on that day, where a file came from.
    pub notes: BTreeMap<String, String>,
}

impl Record {
    /// Records the digest of a key file in an entry that is being made.
    pub fn seal(&mut self, staging: &Path, file: &str) -> anyhow::Result<&mut Self> {
        self.files.insert(file.into(), Digest::of_file(&staging.join(file))?);
        Ok(self)
    }

    pub fn note(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.notes.insert(name.into(), value.into());
        self
    }
}

impl Store {
    pub fn new(root: PathBuf, runner: Runner) -> Self {
        Self { root, runner }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an entry is or would be.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The entry if it is there and holds. Touches nothing.
    pub fn find(&self, name: &str) -> Option<Entry> {
        verify(&self.path_of(name)).ok()
    }

    /// The entry, made by `make` in a staging folder if it is not there or does not hold.
    pub fn get_or_make(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> anyhow::Result<Record>,
    ) -> anyhow::Result<Entry> {
        let path = self.path_of(name);
        let parent = path.parent().context("an entry without a folder")?;
        std::fs::create_dir_all(parent).map_err(|error| cannot_write(parent, error))?;
        let _lock = lock(&parent.join(format!(".{}.lock", file_name(&path))), &self.runner)?;
        if path.exists() {
            match verify(&path) {
                Ok(entry) => return Ok(entry),
                Err(why) => {
                    eprintln!("warning: {} does not hold ({why}); it is made again", path.display());
                    std::fs::remove_dir_all(&path).with_context(|| format!("removing {}", path.display()))?;
                }
            }
        }
        sweep(parent, &path);
        let staging = tempfile::Builder::new()
            .prefix(&format!(".staging-{}-", file_name(&path)))
            .tempdir_in(parent)
            .map_err(|error| cannot_write(parent, error))?;
        let record = make(staging.path())?;
        let text = serde_json::to_string_pretty(&record)?;
        std::fs::write(staging.path().join(RECORD), text)
            .map_err(|error| cannot_write(staging.path(), error))?;
        std::fs::rename(staging.path(), &path).with_context(|| format!("naming {}", path.display()))?;
        // It has a name of its own now; the guard would only look for the old one.
        let _ = staging.keep();
        Ok(Entry { path, record, reused: false })
    }

    /// Removes the other entries of a store that keeps only what the last build made.
    pub fn keep_only(&self, name: &str) -> anyhow::Result<()> {
        for entry in std::fs::read_dir(&self.root)?.flatten() {
            let other = entry.file_name();
            if entry.path().join(RECORD).exists() && other != name {
                std::fs::remove_dir_all(entry.path())
                    .with_context(|| format!("removing {}", entry.path().display()))?;
                let _ = std::fs::remove_file(self.root.join(format!(".{}.lock", other.to_string_lossy())));
            }
        }
        Ok(())
    }
}

/// "No space left" is the one write error whose remedy is not in the error text.
pub fn cannot_write(path: &Path, error: std::io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        std::io::ErrorKind::StorageFull => crate::failure::DISK_FULL,
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
    Failure::new(format!("cannot write {}: {error}", path.display())).hint(hint).into()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Waits for its turn, and for Ctrl-C. The kernel drops the lock with the process, however that ends.
pub fn lock(path: &Path, runner: &Runner) -> anyhow::Result<File> {
    wait_for(File::create(path).map_err(|error| cannot_write(path, error))?, path, runner)
}

/// The same for a folder that others read, where a lock file would be in their way.
pub fn lock_folder(path: &Path, runner: &Runner) -> anyhow::Result<File> {
    wait_for(File::open(path).with_context(|| format!("opening {}", path.display()))?, path, runner)
}

fn wait_for(file: File, path: &Path, runner: &Runner) -> anyhow::Result<File> {
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {
                if !told {
                    eprintln!("waiting for another run that holds {}", path.display());
                    told = true;
                }
                runner.check()?;
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("locking {}", path.display()));
            }
        }
    }
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

fn verify(path: &Path) -> anyhow::Result<Entry> {
    let text = std::fs::read_to_string(path.join(RECORD)).context("its record is missing")?;
    let record: Record = serde_json::from_str(&text).context("its record cannot be read")?;
    for (file, expected) in &record.files {
        let found = Digest::of_file(&path.join(file))?;
        if found != *expected {
            return Err(
                Failure::new(format!("`{file}` has changed: expected {expected}, found {found}")).into()
            );
        }
    }
    Ok(Entry { path: path.into(), record, reused: true })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(text: &'static str) -> impl FnOnce(&Path) -> anyhow::Result<Record> {
        move |staging| {
            std::fs::write(staging.join("key"), text)?;
            let mut record = Record::default();
            record.seal(staging, "key")?;
            Ok(record)
        }
    }

    #[test]
    fn an_entry_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().into(), Runner::deaf());
        assert!(store.find("tools/a").is_none());
        assert!(!store.get_or_make("tools/a", make("one")).unwrap().reused);
        let again = store.get_or_make("tools/a", |_| panic!("made twice")).unwrap();
        assert!(again.reused);
        assert!(store.find("tools/a").is_some());
    }

    #[test]
    fn a_corrupted_entry_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().into(), Runner::deaf());
        let entry = store.get_or_make("a", make("one")).unwrap();
        std::fs::write(entry.path.join("key"), "two").unwrap();
        assert!(store.find("a").is_none());
        assert!(!store.get_or_make("a", make("one")).unwrap().reused);
        assert_eq!(std::fs::read_to_string(entry.path.join("key")).unwrap(), "one");
    }

    #[test]
    fn a_failed_make_leaves_no_entry_and_no_staging() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().into(), Runner::deaf());
        let failed = store.get_or_make("a", |staging| {
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
        let store = Store::new(folder.path().into(), Runner::deaf());
        std::fs::create_dir(folder.path().join(".staging-a-dead")).unwrap();
        store.get_or_make("a", make("one")).unwrap();
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
                    let entry = Store::new(root.clone(), Runner::deaf()).get_or_make("a", |staging| {
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
