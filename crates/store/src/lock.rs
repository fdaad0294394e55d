//! Locks between processes. The kernel drops them with the process, however it ends, so a lock file that was left over
//! locks nothing.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::cannot_write;
use process::Runner;

/// A look of another process (`cache ls`) is over before this; only a longer wait is worth a word.
const QUIET_WAIT: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Reads what is there: any number at once.
    Shared,
    /// Makes or removes it: alone.
    Exclusive,
}

/// Waits for its turn to be alone, and for Ctrl-C.
pub fn lock_exclusive(path: &Path, runner: &Runner) -> anyhow::Result<File> {
    acquire(path, LockMode::Exclusive, runner)
}

/// The same for a folder that others read, where a lock file would be in their way.
pub fn lock_folder(path: &Path, runner: &Runner) -> anyhow::Result<File> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    wait_for(&file, LockMode::Exclusive, path, runner)?;
    Ok(file)
}

pub(crate) fn acquire(path: &Path, mode: LockMode, runner: &Runner) -> anyhow::Result<File> {
    loop {
        let file = open(path).map_err(|error| cannot_write(path, error))?;
        wait_for(&file, mode, path, runner)?;
        if is_still(&file, path) {
            return Ok(file);
        }
    }
}

/// The lock if nobody is in the way.
pub(crate) fn try_acquire(path: &Path, mode: LockMode) -> anyhow::Result<Option<File>> {
    loop {
        let file = open(path).map_err(|error| cannot_write(path, error))?;
        if !take(&file, mode).with_context(|| format!("locking {}", path.display()))? {
            return Ok(None);
        }
        if is_still(&file, path) {
            return Ok(Some(file));
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    File::options().create(true).write(true).truncate(false).open(path)
}

/// Whether the name still leads to the file that was locked: who removed it in between would else lock another one, and
/// both would be alone.
fn is_still(file: &File, path: &Path) -> bool {
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

/// Also turns a hold of one kind into one of the other.
pub(crate) fn wait_for(file: &File, mode: LockMode, path: &Path, runner: &Runner) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut told = false;
    while !take(file, mode).with_context(|| format!("locking {}", path.display()))? {
        if !told && began.elapsed() > QUIET_WAIT {
            runner.events().step(format!("waiting for another run that holds {}", path.display()));
            told = true;
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
    fn readers_share_and_a_maker_is_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".a.lock");
        let first = try_acquire(&path, LockMode::Shared).unwrap().unwrap();
        let second = try_acquire(&path, LockMode::Shared).unwrap().unwrap();
        assert!(try_acquire(&path, LockMode::Exclusive).unwrap().is_none());
        drop((first, second));
        let alone = try_acquire(&path, LockMode::Exclusive).unwrap().unwrap();
        assert!(try_acquire(&path, LockMode::Shared).unwrap().is_none());
        drop(alone);
    }

    #[test]
    fn a_lock_file_that_was_replaced_is_not_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".a.lock");
        let old = try_acquire(&path, LockMode::Exclusive).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(!is_still(&old, &path));
        let new =
            try_acquire(&path, LockMode::Exclusive).unwrap().expect("another file, so nobody is in the way");
        assert!(is_still(&new, &path));
    }
}
