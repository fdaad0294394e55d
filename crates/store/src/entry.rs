//! A verified entry of the cache.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use diag::Diagnostic;
use process::Runner;

use crate::codes::ENTRY_CHANGED;
use crate::digest::Digest;
use crate::record::Record;

/// Up to this size every file of an entry is compared at every hit, not only its key files. It takes about 60 ms.
const FULL_COMPARE_BYTES_MAX: u64 = 64 << 20;
/// Digests of files from this size on are memoized.
pub(crate) const MEMOIZED_BYTES_MIN: u64 = 1 << 20;

/// A complete entry, verified when it was opened.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its folder.
    pub path: PathBuf,
    /// Its record.
    pub record: Record,
    /// False when this run made it.
    pub reused: bool,
}

impl Entry {
    /// Opens an entry. Compares its key files, and all files of a small entry.
    pub(crate) fn open(path: &Path, digests: &Mutex<DigestMemo>, runner: &Runner) -> anyhow::Result<Self> {
        let record = Record::read(path)?;
        for (file, expected) in &record.files {
            let found = digests.lock().unwrap_or_else(PoisonError::into_inner).of(&path.join(file))?;
            if found != *expected {
                return Err(Diagnostic::new(&ENTRY_CHANGED, format!("`{file}` has changed"))
                    .expected(expected.to_string())
                    .found(found.to_string())
                    .into());
            }
        }
        if record.contents.is_some()
            && record.size_bytes <= FULL_COMPARE_BYTES_MAX
            && let Some(difference) = record.differences(path, runner)?.first()
        {
            return Err(Diagnostic::new(&ENTRY_CHANGED, difference.clone()).into());
        }
        Ok(Self { path: path.into(), record, reused: true })
    }
}

/// Digests of the large files that this process has read: a run looks up the compiler first and uses it later, and its 170 MiB
/// are read once. A file that was written in between has another stamp.
#[derive(Default)]
pub(crate) struct DigestMemo(BTreeMap<PathBuf, (Stamp, Digest)>);

/// Size, inode, and the times of change of contents and of inode in nanoseconds.
type Stamp = (u64, u64, (i64, i64), (i64, i64));

impl DigestMemo {
    fn of(&mut self, path: &Path) -> anyhow::Result<Digest> {
        let metadata =
            path.metadata().with_context(|| format!("reading the metadata of {}", path.display()))?;
        let stamp = (
            metadata.len(),
            metadata.ino(),
            (metadata.mtime(), metadata.mtime_nsec()),
            (metadata.ctime(), metadata.ctime_nsec()),
        );
        if let Some((then, digest)) = self.0.get(path)
            && *then == stamp
        {
            return Ok(digest.clone());
        }
        let digest = Digest::of_file(path)?;
        if stamp.0 >= MEMOIZED_BYTES_MIN {
            self.0.insert(path.into(), (stamp, digest.clone()));
        }
        Ok(digest)
    }

    /// Number of memoized digests.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
