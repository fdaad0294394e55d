//! Garbage collection: which items can be removed, and their removal.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;

use super::info::{CacheItem, CacheItemKind, CacheItemState, lock_for};
use crate::layout::{entry_of_lock, remove_entry};
use crate::lock::{LockMode, try_acquire};

/// What can be removed. Items that another process uses are never candidates.
#[derive(Debug, Clone, Default)]
pub struct GcPolicy {
    /// Files and folders that the present plan uses. Entries that contain them, or are in them, stay in any case.
    pub planned: Vec<PathBuf>,
    /// Only items that were not used for this time.
    pub older_than: Option<Duration>,
    /// Only as many items as bring the cache to this size, least recently used first.
    pub bytes_max: Option<u64>,
    /// The own caches of tools too.
    pub scratch: bool,
}

impl GcPolicy {
    fn is_planned(&self, entry: &Path) -> bool {
        self.planned.iter().any(|used| used.starts_with(entry) || entry.starts_with(used))
    }
}

/// An item that can be removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GcCandidate {
    /// The item.
    #[serde(flatten)]
    pub item: CacheItem,
    /// Why it can be removed.
    pub reason: String,
}

/// The items that a policy removes. Changes nothing.
pub fn gc_candidates(all: &[CacheItem], policy: &GcPolicy) -> Vec<GcCandidate> {
    let mut candidates: Vec<GcCandidate> = Vec::new();
    let mut optional: Vec<&CacheItem> = Vec::new();
    for item in all.iter().filter(|item| !item.in_use) {
        let reason = match (item.kind, &item.state) {
            (CacheItemKind::Staging, _) => "left by a killed process",
            (CacheItemKind::Lock, _) => "the lock of no entry",
            (CacheItemKind::Entry, CacheItemState::Broken(_)) => "broken",
            (CacheItemKind::Entry, _) if !policy.is_planned(&item.path) => {
                optional.push(item);
                continue;
            }
            (CacheItemKind::Scratch, _) if policy.scratch => {
                optional.push(item);
                continue;
            }
            _ => continue,
        };
        candidates.push(GcCandidate { item: item.clone(), reason: reason.into() });
    }
    optional.sort_by_key(|item| Reverse(item.unused_seconds));
    let removed: u64 = candidates.iter().map(|candidate| candidate.item.size_bytes).sum();
    let mut left = all.iter().map(|item| item.size_bytes).sum::<u64>() - removed;
    for item in optional {
        let is_too_old = policy.older_than.is_some_and(|age| item.unused_seconds >= age.as_secs());
        let is_too_large = policy.bytes_max.is_some_and(|max| left > max);
        let is_unconditional = policy.older_than.is_none() && policy.bytes_max.is_none();
        let reason = match (is_unconditional, is_too_old, is_too_large) {
            (true, _, _) if item.kind == CacheItemKind::Scratch => "the own cache of a tool",
            (true, _, _) => "not used by the present plan",
            (_, true, _) => "not used for the given time",
            (_, _, true) => "the cache is larger than the given size",
            _ => continue,
        };
        left -= item.size_bytes;
        candidates.push(GcCandidate { item: item.clone(), reason: reason.into() });
    }
    candidates
}

/// Removes one item, unless another process has locked it since it was listed. Returns whether it was removed.
pub fn remove(item: &CacheItem) -> anyhow::Result<bool> {
    let path = &item.path;
    let remove_folder =
        || std::fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()));
    if item.kind == CacheItemKind::Scratch {
        remove_folder()?;
        return Ok(true);
    }
    let lock = lock_for(path, item.kind);
    let Some(_exclusive) = try_acquire(&lock, LockMode::Exclusive)? else { return Ok(false) };
    match item.kind {
        CacheItemKind::Entry if path.exists() => remove_entry(path)?,
        CacheItemKind::Staging if path.is_dir() => remove_folder()?,
        _ => {}
    }
    // Removed while it is locked: a process that waits for it detects the removal and creates a new one.
    if !entry_of_lock(&lock).exists() {
        std::fs::remove_file(&lock).with_context(|| format!("removing {}", lock.display()))?;
    }
    Ok(true)
}
