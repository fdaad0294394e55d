//! The cache seen from outside: what is in it, whether it holds, and what may go. For `cargo xtask cache`.
//!
//! Looking changes nothing. Removing takes the lock of each entry and leaves whatever another process holds.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde::Serialize;

use crate::Digest;
use crate::lock::{LockMode, try_acquire};
use crate::{RECORD, compare, contents, lock_of, read_record, remove_entry};
use diag::Diagnostic;
use process::Runner;

/// One thing in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheEntryInfo {
    /// Below the cache: `native/openblas-9da1ce232e664188`.
    pub name: String,
    #[serde(skip)]
    pub path: PathBuf,
    pub kind: Kind,
    pub files: usize,
    pub size_bytes: u64,
    /// Since it was last given to a build; of what is no entry, since it was changed.
    pub unused_seconds: u64,
    /// Another process holds it.
    pub in_use: bool,
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Entry,
    /// Half-made, by a run that was killed or that is at it.
    Staging,
    /// The lock of an entry that is not there.
    Lock,
    /// What tools put here by themselves, which we cannot judge: zig's cache.
    Scratch,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "because")]
pub enum State {
    /// Record and files are there; their bytes are compared by [`verify`] alone.
    Complete,
    Broken(Vec<String>),
    /// Nothing to compare with.
    Unknown,
}

/// What [`verify`] found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "is", content = "because")]
pub enum Verdict {
    /// All files have their digests.
    Holds,
    Broken(Vec<String>),
    /// Only key files could be compared: the record is older than lists of all files.
    KeyFilesOnly,
}

/// What may go. Nothing that another process holds ever does.
#[derive(Debug, Clone, Default)]
pub struct GcPolicy {
    /// Files and folders that the present plan uses: what they are in, or holds them, stays, whatever the other wishes say.
    pub planned: Vec<PathBuf>,
    /// Only what was not used for so long.
    pub older_than: Option<Duration>,
    /// Only as much as is needed to come below it, least recently used first.
    pub bytes_max: Option<u64>,
    /// Tools' own caches too.
    pub scratch: bool,
}

impl GcPolicy {
    fn is_planned(&self, entry: &Path) -> bool {
        self.planned.iter().any(|used| used.starts_with(entry) || entry.starts_with(used))
    }
}

/// Something that may go, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GcCandidate {
    #[serde(flatten)]
    pub held: CacheEntryInfo,
    pub reason: String,
}

/// Everything below the cache folder, by name. An empty or missing cache is an empty list.
pub fn list(root: &Path) -> anyhow::Result<Vec<CacheEntryInfo>> {
    let mut all = Vec::new();
    if !root.exists() {
        return Ok(all);
    }
    for kind in folders_and_files(root)? {
        if !kind.is_dir() {
            continue;
        }
        let children = folders_and_files(&kind)?;
        let is_ours = |path: &PathBuf| path.join(RECORD).exists() || lock_of(path).exists() || is_lock(path);
        if kind.join(RECORD).exists() {
            all.push(entry(root, &kind)?);
        } else if !children.iter().any(is_ours) {
            if !children.is_empty() {
                all.push(held(root, &kind, Kind::Scratch, State::Unknown)?);
            }
        } else {
            for child in &children {
                all.extend(child_of_ours(root, child)?);
            }
        }
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

fn child_of_ours(root: &Path, child: &Path) -> anyhow::Result<Option<CacheEntryInfo>> {
    let name = crate::file_name(child);
    if is_lock(child) {
        let gone = !locked_by(child).exists();
        return gone.then(|| held(root, child, Kind::Lock, State::Unknown)).transpose();
    }
    if name.starts_with(".staging-") {
        return held(root, child, Kind::Staging, State::Unknown).map(Some);
    }
    if !child.is_dir() {
        return Ok(None);
    }
    // Whoever makes an entry has its lock; what has neither lock nor record was put here by other means.
    let was_made_here = child.join(RECORD).exists() || lock_of(child).exists();
    match was_made_here {
        true => entry(root, child).map(Some),
        false => held(root, child, Kind::Scratch, State::Unknown).map(Some),
    }
}

fn entry(root: &Path, path: &Path) -> anyhow::Result<CacheEntryInfo> {
    let state = match read_record(path) {
        Err(why) => State::Broken(vec![format!("{why:#}")]),
        Ok(record) => {
            let missing: Vec<String> = record
                .files
                .keys()
                .filter(|file| !path.join(file).exists())
                .map(|file| format!("`{file}` is missing"))
                .collect();
            if missing.is_empty() { State::Complete } else { State::Broken(missing) }
        }
    };
    held(root, path, Kind::Entry, state)
}

fn held(root: &Path, path: &Path, kind: Kind, state: State) -> anyhow::Result<CacheEntryInfo> {
    let files = if path.is_dir() { contents::files_below(path)?.len() } else { 1 };
    let lock = lock_that_guards(path, kind);
    let last_used = match kind {
        Kind::Entry => modified(&lock).or_else(|| modified(&path.join(RECORD))),
        _ => modified(path),
    };
    let unused = last_used.and_then(|time| time.elapsed().ok()).unwrap_or_default();
    Ok(CacheEntryInfo {
        name: path.strip_prefix(root).unwrap_or(path).display().to_string(),
        path: path.into(),
        kind,
        files,
        size_bytes: size_of(path)?,
        unused_seconds: unused.as_secs(),
        in_use: kind != Kind::Scratch && lock.exists() && try_acquire(&lock, LockMode::Exclusive)?.is_none(),
        state,
    })
}

/// Every file of an entry against the digests of its record.
pub fn verify(held: &CacheEntryInfo, runner: &Runner) -> anyhow::Result<Verdict> {
    // Whoever makes or removes it is waited for: a moving target has no verdict.
    let _lock = crate::lock::acquire(&lock_of(&held.path), LockMode::Shared, runner)?;
    let record = match read_record(&held.path) {
        Ok(record) => record,
        Err(why) => return Ok(Verdict::Broken(vec![format!("{why:#}")])),
    };
    let mut problems = Vec::new();
    for (file, expected) in &record.files {
        runner.check()?;
        match Digest::of_file(&held.path.join(file)) {
            Err(error) => problems.push(format!("`{file}` cannot be read: {:#}", error.root_cause())),
            Ok(found) if found != *expected => {
                problems.push(format!("`{file}` has changed: expected {expected}, found {found}"));
            }
            Ok(_) => {}
        }
    }
    if record.contents.is_some() {
        match compare(&held.path, &record, runner) {
            Ok(found) => problems.extend(found),
            Err(why) => {
                runner.check()?;
                problems.push(format!("{why:#}"));
            }
        }
    }
    problems.sort();
    problems.dedup();
    Ok(match (problems.is_empty(), record.contents.is_some()) {
        (false, _) => Verdict::Broken(problems),
        (true, true) => Verdict::Holds,
        (true, false) => Verdict::KeyFilesOnly,
    })
}

/// Decides, and touches nothing.
pub fn gc_candidates(all: &[CacheEntryInfo], wish: &GcPolicy) -> Vec<GcCandidate> {
    let mut doomed: Vec<GcCandidate> = Vec::new();
    let doom = |doomed: &mut Vec<GcCandidate>, held: &CacheEntryInfo, reason: String| {
        doomed.push(GcCandidate { held: held.clone(), reason });
    };
    let mut optional: Vec<&CacheEntryInfo> = Vec::new();
    for held in all.iter().filter(|held| !held.in_use) {
        match (held.kind, &held.state) {
            (Kind::Staging, _) => doom(&mut doomed, held, "left by a run that was killed".into()),
            (Kind::Lock, _) => doom(&mut doomed, held, "locks nothing".into()),
            (Kind::Entry, State::Broken(_)) => doom(&mut doomed, held, "broken".into()),
            (Kind::Entry, _) if !wish.is_planned(&held.path) => optional.push(held),
            (Kind::Scratch, _) if wish.scratch => optional.push(held),
            _ => {}
        }
    }
    optional.sort_by_key(|held| std::cmp::Reverse(held.unused_seconds));
    let gone: u64 = doomed.iter().map(|doomed| doomed.held.size_bytes).sum();
    let mut left = all.iter().map(|held| held.size_bytes).sum::<u64>() - gone;
    for held in optional {
        let too_old = wish.older_than.is_some_and(|age| held.unused_seconds >= age.as_secs());
        let too_much = wish.bytes_max.is_some_and(|max| left > max);
        let unconditional = wish.older_than.is_none() && wish.bytes_max.is_none();
        let reason = match (unconditional, too_old, too_much) {
            (true, _, _) if held.kind == Kind::Scratch => "a tool's own cache",
            (true, _, _) => "not used by the present plan",
            (_, true, _) => "not used for long enough",
            (_, _, true) => "the cache is larger than asked for",
            _ => continue,
        };
        left -= held.size_bytes;
        doom(&mut doomed, held, reason.into());
    }
    doomed
}

/// Removes one thing unless somebody has taken it since it was listed; says whether it did.
pub fn remove(doomed: &CacheEntryInfo) -> anyhow::Result<bool> {
    let path = &doomed.path;
    if doomed.kind == Kind::Scratch {
        std::fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))?;
        return Ok(true);
    }
    let lock = lock_that_guards(path, doomed.kind);
    let Some(_alone) = try_acquire(&lock, LockMode::Exclusive)? else { return Ok(false) };
    match doomed.kind {
        Kind::Entry if path.exists() => remove_entry(path)?,
        Kind::Staging if path.is_dir() => {
            std::fs::remove_dir_all(path).with_context(|| format!("removing {}", path.display()))?;
        }
        _ => {}
    }
    // While it is held: who waits for it finds that the name leads nowhere, and takes a new one.
    if !locked_by(&lock).exists() {
        std::fs::remove_file(&lock).with_context(|| format!("removing {}", lock.display()))?;
    }
    Ok(true)
}

/// The error of a verb that was asked to remove what is in use.
pub fn in_use(held: &CacheEntryInfo) -> Diagnostic {
    Diagnostic::new(&crate::ENTRY_IN_USE, format!("{} is held by another process", held.path.display()))
        .hint("wait for the build that uses it, then run this again")
}

pub(crate) fn size_of(path: &Path) -> anyhow::Result<u64> {
    if !path.is_dir() {
        return Ok(path.symlink_metadata().map_or(0, |file| file.len()));
    }
    let files = contents::files_below(path)?;
    // A file that another process removes meanwhile counts as nothing.
    Ok(files.iter().filter_map(|file| file.symlink_metadata().ok()).map(|file| file.len()).sum())
}

fn folders_and_files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>();
    read().with_context(|| format!("reading {}", folder.display()))
}

fn is_lock(path: &Path) -> bool {
    let name = crate::file_name(path);
    name.starts_with('.') && name.ends_with(".lock")
}

fn locked_by(lock: &Path) -> PathBuf {
    let name = crate::file_name(lock);
    lock.with_file_name(name.trim_start_matches('.').trim_end_matches(".lock"))
}

/// `.staging-NAME-XXXXXX` is made and swept under the lock of NAME.
fn lock_that_guards(path: &Path, kind: Kind) -> PathBuf {
    match kind {
        Kind::Lock => path.into(),
        Kind::Staging => {
            let name = crate::file_name(path);
            let stem = name.trim_start_matches(".staging-");
            let entry = stem.rsplit_once('-').map_or(stem, |(entry, _)| entry);
            lock_of(&path.with_file_name(entry))
        }
        Kind::Entry | Kind::Scratch => lock_of(path),
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}

#[cfg(test)]
mod tests;
