//! A verified entry of the cache.

use std::path::{Path, PathBuf};

use diag::Diagnostic;
use process::Runner;

use crate::codes::ENTRY_CHANGED;
use crate::contents::files_below;
use crate::digest::Digest;
use crate::layout::RECORD;
use crate::record::Record;
use crate::unchanged::FileStates;

/// Up to this size every file of an entry is compared at every hit, not only its key files. It takes about 60 ms.
const FULL_COMPARE_BYTES_MAX: u64 = 64 << 20;

/// A complete entry, verified when it was opened.
#[derive(Debug, Clone)]
pub struct CacheEntry {
    /// Its folder.
    pub path: PathBuf,
    /// Its record.
    pub record: Record,
    /// False when this run made it.
    pub reused: bool,
}

impl CacheEntry {
    /// Opens an entry. Compares its key files, and all files of a small entry.
    pub(crate) fn open(path: &Path, runner: &Runner) -> anyhow::Result<Self> {
        let record = Record::read(path)?;
        let compares_all = record.contents.is_some() && record.size_bytes <= FULL_COMPARE_BYTES_MAX;
        // Read before the comparison, so that a change during it is not covered.
        let states = FileStates::of(path, &compared_files(path, &record, compares_all)?);
        if states.as_ref().is_none_or(|states| !states.are_recorded(path)) {
            compare(path, &record, compares_all, runner)?;
            if let Some(states) = states {
                states.record(path);
            }
        }
        Ok(Self { path: path.into(), record, reused: true })
    }
}

/// The files that decide about a hit: the record and its key files, or all files.
fn compared_files(path: &Path, record: &Record, compares_all: bool) -> anyhow::Result<Vec<PathBuf>> {
    if compares_all {
        return files_below(path);
    }
    Ok(std::iter::once(RECORD)
        .chain(record.files.keys().map(String::as_str))
        .map(|file| path.join(file))
        .collect())
}

fn compare(path: &Path, record: &Record, compares_all: bool, runner: &Runner) -> anyhow::Result<()> {
    if compares_all {
        return match record.differences(path, runner)?.first() {
            Some(difference) => Err(Diagnostic::new(&ENTRY_CHANGED, difference.clone()).into()),
            None => Ok(()),
        };
    }
    for (file, expected) in &record.files {
        let found = Digest::of_file(&path.join(file))?;
        if found != *expected {
            return Err(Diagnostic::new(&ENTRY_CHANGED, format!("`{file}` has changed"))
                .expected(expected.to_string())
                .found(found.to_string())
                .into());
        }
    }
    Ok(())
}
