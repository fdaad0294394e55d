//! All items of the cache.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::info::{CacheItem, CacheItemKind, CacheItemState, inspect};
use crate::layout::{RECORD, entry_of_lock, is_lock, is_staging, lock_of};
use crate::record::Record;

/// All items below the cache folder, by name. An empty or missing cache gives an empty list.
pub fn list(root: &Path) -> anyhow::Result<Vec<CacheItem>> {
    let mut all = Vec::new();
    if !root.exists() {
        return Ok(all);
    }
    for folder in children(root)?.into_iter().filter(|path| path.is_dir()) {
        let items = children(&folder)?;
        let is_ours = |path: &PathBuf| path.join(RECORD).exists() || lock_of(path).exists() || is_lock(path);
        if folder.join(RECORD).exists() {
            all.push(entry(root, &folder)?);
        } else if items.iter().any(is_ours) {
            for item in &items {
                all.extend(item_of_ours(root, item)?);
            }
        } else if !items.is_empty() {
            all.push(inspect(root, &folder, CacheItemKind::Scratch, CacheItemState::Unknown)?);
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn item_of_ours(root: &Path, path: &Path) -> anyhow::Result<Option<CacheItem>> {
    if is_lock(path) {
        let is_unused = !entry_of_lock(path).exists();
        return is_unused
            .then(|| inspect(root, path, CacheItemKind::Lock, CacheItemState::Unknown))
            .transpose();
    }
    if is_staging(path) {
        return inspect(root, path, CacheItemKind::Staging, CacheItemState::Unknown).map(Some);
    }
    if !path.is_dir() {
        return Ok(None);
    }
    // An entry is made under its lock, so a folder with neither lock nor record was made by another program.
    match path.join(RECORD).exists() || lock_of(path).exists() {
        true => entry(root, path).map(Some),
        false => inspect(root, path, CacheItemKind::Scratch, CacheItemState::Unknown).map(Some),
    }
}

fn entry(root: &Path, path: &Path) -> anyhow::Result<CacheItem> {
    let state = match Record::read(path) {
        Err(error) => CacheItemState::Broken(vec![format!("{error:#}")]),
        Ok(record) => {
            let missing = record.files.keys().filter(|file| !path.join(file).exists());
            let missing: Vec<String> = missing.map(|file| format!("`{file}` is missing")).collect();
            if missing.is_empty() { CacheItemState::Complete } else { CacheItemState::Broken(missing) }
        }
    };
    inspect(root, path, CacheItemKind::Entry, state)
}

fn children(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
    read().with_context(|| format!("reading {}", folder.display()))
}
