//! A verified entry of the cache.

use std::path::{Path, PathBuf};

use diag::Diagnostic;
use process::Runner;

use crate::codes::ENTRY_CHANGED;
use crate::digest::Digest;
use crate::record::Record;

/// Up to this size every file of an entry is compared at every hit, not only its key files. It takes about 60 ms.
const FULL_COMPARE_BYTES_MAX: u64 = 64 << 20;

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
    pub(crate) fn open(path: &Path, runner: &Runner) -> anyhow::Result<Self> {
        let record = Record::read(path)?;
        for (file, expected) in &record.files {
            let found = Digest::of_file(&path.join(file))?;
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
