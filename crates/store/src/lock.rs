//! Locks between processes. The kernel releases them when the process ends, in any way, so a remaining lock file locks
//! nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use process::Runner;

use crate::write_error::cannot_write;

/// Short waits, for `cache ls` of another process, are not reported.
const QUIET_WAIT: Duration = Duration::from_millis(300);

/// Kinds of locks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LockMode {
    /// To read: any number at the same time.
    Shared,
    /// To create or remove: one, and no shared one.
    Exclusive,
}

/// Takes an exclusive lock on a lock file, which is created if it does not exist. Waits; a signal ends the wait.
pub fn lock_exclusive(path: &Path, runner: &Runner) -> anyhow::Result<File> {
    acquire(path, LockMode::Exclusive, runner)
}

/// The same for a folder, without a lock file in it.
pub fn lock_folder(path: &Path, runner: &Runner) -> anyhow::Result<File> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    wait_for(&file, LockMode::Exclusive, path, runner)?;
    Ok(file)
}

/// Takes a lock on a lock file.
pub(crate) fn acquire(path: &Path, mode: LockMode, runner: &Runner) -> anyhow::Result<File> {
    loop {
        let file = open(path).map_err(|error| cannot_write(path, error))?;
        wait_for(&file, mode, path, runner)?;
        if is_current(&file, path) {
            return Ok(file);
        }
    }
}

/// Takes a lock on a lock file, or returns `None` when another process holds one.
pub(crate) fn try_acquire(path: &Path, mode: LockMode) -> anyhow::Result<Option<File>> {
    loop {
        let file = open(path).map_err(|error| cannot_write(path, error))?;
        if !take(&file, mode).with_context(|| format!("locking {}", path.display()))? {
            return Ok(None);
        }
        if is_current(&file, path) {
            return Ok(Some(file));
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).write(true).truncate(false).open(path)
}

/// Whether the path still names the locked file. Another process may have removed it in between; a third would then create and
/// lock another file, and two would hold an exclusive lock.
fn is_current(file: &File, path: &Path) -> bool {
    let same = || -> io::Result<bool> {
        let (ours, named) = (file.metadata()?, std::fs::metadata(path)?);
        Ok((ours.dev(), ours.ino()) == (named.dev(), named.ino()))
    };
    same().unwrap_or(false)
}

fn take(file: &File, mode: LockMode) -> io::Result<bool> {
    let taken = match mode {
        LockMode::Shared => file.try_lock_shared(),
        LockMode::Exclusive => file.try_lock(),
    };
    match taken {
        Ok(()) => Ok(true),
        Err(std::fs::TryLockError::WouldBlock) => Ok(false),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Waits for the lock. Also converts a lock from one mode to the other, not atomically.
pub(crate) fn wait_for(file: &File, mode: LockMode, path: &Path, runner: &Runner) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut is_reported = false;
    while !take(file, mode).with_context(|| format!("locking {}", path.display()))? {
        if !is_reported && began.elapsed() > QUIET_WAIT {
            runner.events().step(format!("waiting for another process that uses {}", path.display()));
            is_reported = true;
        }
        runner.check()?;
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_between_readers_and_excludes_writers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".a.lock");
        let first = try_acquire(&path, LockMode::Shared).unwrap().unwrap();
        let second = try_acquire(&path, LockMode::Shared).unwrap().unwrap();
        assert!(try_acquire(&path, LockMode::Exclusive).unwrap().is_none());
        drop((first, second));
        let exclusive = try_acquire(&path, LockMode::Exclusive).unwrap().unwrap();
        assert!(try_acquire(&path, LockMode::Shared).unwrap().is_none());
        drop(exclusive);
    }

    #[test]
    fn detects_a_replaced_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".a.lock");
        let old = try_acquire(&path, LockMode::Exclusive).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!is_current(&old, &path));
        let new =
            try_acquire(&path, LockMode::Exclusive).unwrap().expect("another file, which is not locked");
        assert!(is_current(&new, &path));
    }
}
