//! Facts of one item of the cache.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use crate::contents;
use crate::layout::{RECORD, entry_of_staging, lock_of};
use crate::lock::{LockMode, try_acquire};

/// One item of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheItem {
    /// Relative to the cache: `native/openblas-9da1ce232e664188`.
    pub name: String,
    /// Absolute.
    #[serde(skip)]
    pub path: PathBuf,
    /// What it is.
    pub kind: CacheItemKind,
    /// Number of files and links.
    pub files: usize,
    /// Sum of their sizes.
    pub size_bytes: u64,
    /// Seconds since a build last used it; for other kinds than entries, since it was changed.
    pub unused_seconds: u64,
    /// Another process has a lock on it.
    pub in_use: bool,
    /// Whether its files exist.
    pub state: CacheItemState,
}

/// Kinds of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheItemKind {
    /// An entry with a record.
    Entry,
    /// An incomplete entry, of a running or killed process.
    Staging,
    /// The lock of an entry that does not exist.
    Lock,
    /// The own cache of a tool, such as zig's; it has no record.
    Scratch,
}

/// Whether the files of an item exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "because")]
pub enum CacheItemState {
    /// Record and key files exist. Only [`super::verify`] compares their bytes.
    Complete,
    /// The record or a key file is missing; each problem is a sentence.
    Broken(Vec<String>),
    /// There is no record.
    Unknown,
}

/// Facts of the item at `path`.
pub(super) fn inspect(
    root: &Path,
    path: &Path,
    kind: CacheItemKind,
    state: CacheItemState,
) -> anyhow::Result<CacheItem> {
    let files = if path.is_dir() { contents::files_below(path)?.len() } else { 1 };
    let lock = lock_for(path, kind);
    let last_used = match kind {
        CacheItemKind::Entry => modified(&lock).or_else(|| modified(&path.join(RECORD))),
        _ => modified(path),
    };
    let unused = last_used.and_then(|time| time.elapsed().ok()).unwrap_or_default();
    Ok(CacheItem {
        name: path.strip_prefix(root).unwrap_or(path).display().to_string(),
        path: path.into(),
        kind,
        files,
        size_bytes: contents::size_of(path)?,
        unused_seconds: unused.as_secs(),
        in_use: kind != CacheItemKind::Scratch
            && lock.exists()
            && try_acquire(&lock, LockMode::Exclusive)?.is_none(),
        state,
    })
}

/// The lock under which an item is made and removed.
pub(super) fn lock_for(path: &Path, kind: CacheItemKind) -> PathBuf {
    match kind {
        CacheItemKind::Lock => path.into(),
        CacheItemKind::Staging => lock_of(&entry_of_staging(path)),
        CacheItemKind::Entry | CacheItemKind::Scratch => lock_of(path),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
