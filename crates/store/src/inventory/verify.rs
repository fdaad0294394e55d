//! Comparison of every file of an entry with its record.

use diag::Diagnostic;
use process::Runner;
use serde::Serialize;

use super::info::CacheItem;
use crate::codes::ENTRY_IN_USE;
use crate::digest::Digest;
use crate::layout::lock_of;
use crate::lock::{LockMode, acquire};
use crate::record::Record;

/// The result of [`verify`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "because")]
pub enum Verification {
    /// All files have the recorded digests.
    Verified,
    /// Some differ; each problem is a sentence.
    Broken(Vec<String>),
    /// Only key files were compared: the record is older than lists of all files.
    KeyFilesOnly,
}

/// Compares every file of an entry with the digests of its record. Waits for a process that makes or removes the entry.
pub fn verify(entry: &CacheItem, runner: &Runner) -> anyhow::Result<Verification> {
    let _lock = acquire(&lock_of(&entry.path), LockMode::Shared, runner)?;
    let record = match Record::read(&entry.path) {
        Ok(record) => record,
        Err(error) => return Ok(Verification::Broken(vec![format!("{error:#}")])),
    };
    let mut problems = Vec::new();
    for (file, expected) in &record.files {
        runner.check()?;
        match Digest::of_file(&entry.path.join(file)) {
            Err(error) => problems.push(format!("`{file}` cannot be read: {:#}", error.root_cause())),
            Ok(found) if found != *expected => {
                problems.push(format!("`{file}` has changed: expected {expected}, found {found}"));
            }
            Ok(_) => {}
        }
    }
    if record.contents.is_some() {
        match record.differences(&entry.path, runner) {
            Ok(found) => problems.extend(found),
            Err(error) => {
                runner.check()?;
                problems.push(format!("{error:#}"));
            }
        }
    }
    problems.sort();
    problems.dedup();
    Ok(match (problems.is_empty(), record.contents.is_some()) {
        (false, _) => Verification::Broken(problems),
        (true, true) => Verification::Verified,
        (true, false) => Verification::KeyFilesOnly,
    })
}

/// The problem of an entry that cannot be removed because another process uses it.
pub fn in_use(entry: &CacheItem) -> Diagnostic {
    Diagnostic::new(&ENTRY_IN_USE, "another process uses the entry")
        .file(&entry.path)
        .hint("wait until that build has ended, then run this again")
}
