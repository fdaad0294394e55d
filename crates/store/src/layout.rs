//! Names in the cache: files of an entry, its lock, its staging folders.
//!
//! | path | purpose |
//! |---|---|
//! | `KIND/NAME/entry.json` | record |
//! | `KIND/NAME/contents.sha256` | digest of every file |
//! | `KIND/.NAME.lock` | lock between processes; its time of change is the time of the last use |
//! | `KIND/.NAME.verified` | states of the files when they were compared with the record |
//! | `KIND/.staging-NAME-XXXXXX` | an entry that is being made or removed |

use std::path::{Path, PathBuf};

use anyhow::Context;

/// File name of the record.
pub(crate) const RECORD: &str = "entry.json";
/// File name of the list of all files.
pub(crate) const CONTENTS: &str = "contents.sha256";

/// The last component of a path, as text.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The lock of an entry.
pub(crate) fn lock_of(entry: &Path) -> PathBuf {
    entry.with_file_name(format!(".{}.lock", file_name(entry)))
}

/// The file states of an entry that were compared with its record.
pub(crate) fn verified_of(entry: &Path) -> PathBuf {
    entry.with_file_name(format!(".{}.verified", file_name(entry)))
}

/// Whether a path is the lock of an entry.
pub(crate) fn is_lock(path: &Path) -> bool {
    let name = file_name(path);
    name.starts_with('.') && name.ends_with(".lock")
}

/// The entry of a lock.
pub(crate) fn entry_of_lock(lock: &Path) -> PathBuf {
    lock.with_file_name(file_name(lock).trim_start_matches('.').trim_end_matches(".lock"))
}

/// Prefix of the staging folders of an entry.
pub(crate) fn staging_prefix(entry: &Path) -> String {
    format!(".staging-{}-", file_name(entry))
}

/// Whether a path is a staging folder.
pub(crate) fn is_staging(path: &Path) -> bool {
    file_name(path).starts_with(".staging-")
}

/// The entry of a staging folder: `.staging-NAME-XXXXXX` is made and removed under the lock of NAME.
pub(crate) fn entry_of_staging(staging: &Path) -> PathBuf {
    let name = file_name(staging);
    let stem = name.trim_start_matches(".staging-");
    staging.with_file_name(stem.rsplit_once('-').map_or(stem, |(entry, _)| entry))
}

/// Renames an entry to a staging name first, so that an interrupted removal leaves no partial entry under its final name.
pub(crate) fn remove_entry(entry: &Path) -> anyhow::Result<()> {
    let staging = entry.with_file_name(format!("{}removed", staging_prefix(entry)));
    let _ = std::fs::remove_dir_all(&staging);
    let _ = std::fs::remove_file(verified_of(entry));
    std::fs::rename(entry, &staging)
        .and_then(|()| std::fs::remove_dir_all(&staging))
        .with_context(|| format!("removing {}", entry.display()))
}

/// Removes the staging folders of an entry that killed processes left. The caller holds the lock of the entry, so no process
/// uses them.
pub(crate) fn remove_leftovers(entry: &Path) {
    let prefix = staging_prefix(entry);
    let parent = entry.parent().map(std::fs::read_dir);
    for leftover in parent.into_iter().flatten().flatten().flatten() {
        if file_name(&leftover.path()).starts_with(&prefix) {
            let _ = std::fs::remove_dir_all(leftover.path());
        }
    }
}
