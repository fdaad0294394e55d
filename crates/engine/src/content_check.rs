//! Whether a file still has the content that it had when it was opened.
//!
//! The kernel reports times, not changes: `touch`, a backup or a copy of attributes change the times of a file with the same
//! bytes. So a digest of the content is computed after the opening, and when later only the times differ, the content is
//! compared with it. XXH64 detects accidents. It does not detect a change that was made to pass it, which needs write access
//! to the weights.
//!
//! The content is read by `pread`: a read through the map would add the complete file to the resident memory, and a
//! truncation during it would raise a signal.

use std::fs::File;
use std::hash::Hasher;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use twox_hash::XxHash64;

use crate::stack::STACK_SIZE_BYTES;

/// Name of the thread that reads a file; the kernel keeps 15 bytes.
const THREAD_NAME: &str = "inferd-digest";
/// On the stack: the memory of a load is measured while the file is read.
const CHUNK_BYTES: usize = 16 << 10;
/// File times have the resolution of the kernel's tick, up to 10 ms: two writes within it have the same times.
const TIME_RESOLUTION: Duration = Duration::from_millis(20);

/// An open file and what is known about its content.
pub(crate) struct ContentCheck(Arc<Shared>);

struct Shared {
    file: File,
    /// Ends a read that no longer has a use.
    dropped: AtomicBool,
    /// Held while the file is read, so that it is read once for all that wait.
    state: Mutex<State>,
}

struct State {
    /// The last state of the file that has the content of the opening.
    accepted: Stamp,
    digest: Option<u64>,
    changed: bool,
}

/// What every write changes. The change time of the inode is included, because a program can restore the time of
/// modification; that renames and permissions change it, too, costs one comparison of the content.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: (i64, i64),
    inode_changed: (i64, i64),
    /// No name is left: the file was removed, or replaced by rename.
    is_unlinked: bool,
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self {
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode_changed: (metadata.ctime(), metadata.ctime_nsec()),
            is_unlinked: metadata.nlink() == 0,
        })
    }

    /// Whether the file has the content of the time of `earlier`. The removal of its last name changes the change time, and so
    /// does a write; but without a name no program can open the file to restore its time of modification after a write.
    fn is_as_in(&self, earlier: &Self) -> bool {
        let is_only_unlinked = self.is_unlinked && !earlier.is_unlinked;
        (self.bytes, self.modified) == (earlier.bytes, earlier.modified)
            && (is_only_unlinked || self.inode_changed == earlier.inode_changed)
    }

    /// Whether a later write is certain to have another time.
    #[expect(clippy::disallowed_methods, reason = "compared with the times of a file")]
    fn is_settled(&self) -> bool {
        let (seconds, nanos) = self.inode_changed;
        let Ok(seconds) = u64::try_from(seconds) else { return true };
        let changed = UNIX_EPOCH + Duration::new(seconds, u32::try_from(nanos).unwrap_or(0));
        // A time in the future is that of another clock, and a write sets the present time.
        SystemTime::now().duration_since(changed).is_ok_and(|age| age > TIME_RESOLUTION)
    }
}

impl ContentCheck {
    /// Takes the present content as that of the opening.
    pub fn new(file: File) -> io::Result<Self> {
        let state = State { accepted: Stamp::of(&file)?, digest: None, changed: false };
        Ok(Self(Arc::new(Shared { file, dropped: AtomicBool::new(false), state: Mutex::new(state) })))
    }

    /// Computes the digest on a thread of its own. Until it is known, other times count as other content.
    pub fn remember(&self) {
        self.in_background(|shared| {
            // Not under the lock: checks of an unchanged file do not wait.
            let digest = shared.digest();
            let mut state = shared.lock();
            // The digest of bytes that may have changed since the opening is of no use.
            let accepted = state.accepted;
            state.digest =
                digest.filter(|_| Stamp::of(&shared.file).is_ok_and(|now| now.is_as_in(&accepted)));
        });
    }

    /// Whether the content is that of the opening. Reads the file when only its times differ.
    pub fn is_unchanged(&self) -> bool {
        self.0.check()
    }

    /// The same without reading the file: starts a check when one is necessary, and returns `true` until it has a result.
    pub fn seems_unchanged(&self) -> bool {
        let state = match self.0.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return true,
        };
        let Ok(now) = Stamp::of(&self.0.file) else { return false };
        if let Some(known) = state.judge(now) {
            return known;
        }
        drop(state);
        self.in_background(|shared| {
            shared.check();
        });
        true
    }

    /// Without a thread the work is left to the next check.
    fn in_background(&self, work: impl FnOnce(&Shared) + Send + 'static) {
        let shared = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name(THREAD_NAME.into()).stack_size(STACK_SIZE_BYTES);
        let _ = thread.spawn(move || work(&shared));
    }
}

impl Drop for ContentCheck {
    fn drop(&mut self) {
        self.0.dropped.store(true, Ordering::Release);
    }
}

impl State {
    /// The answer if it does not require reading the file.
    fn judge(&self, now: Stamp) -> Option<bool> {
        match () {
            () if self.changed || now.bytes != self.accepted.bytes => Some(false),
            () if now.is_as_in(&self.accepted) => Some(true),
            () if self.digest.is_none() => Some(false),
            () => None,
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each field is written at once, so a panic under the lock leaves a consistent state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self) -> bool {
        let mut state = self.lock();
        let Ok(now) = Stamp::of(&self.file) else { return false };
        if let Some(known) = state.judge(now) {
            return known;
        }
        let is_settled = now.is_settled();
        let is_same = self.digest() == state.digest;
        if !is_same {
            // Also when it is restored later: requests may have computed with the other content.
            state.changed = true;
        } else if is_settled && Stamp::of(&self.file).is_ok_and(|after| after == now) {
            state.accepted = now;
        }
        // Same bytes, and a write during the read or after it: the next check reads the file again.
        is_same
    }

    /// `None` after an error or when the result has no use.
    fn digest(&self) -> Option<u64> {
        let (mut hasher, mut chunk, mut offset) = (XxHash64::with_seed(0), [0; CHUNK_BYTES], 0);
        while !self.dropped.load(Ordering::Acquire) {
            match self.file.read_at(&mut chunk, offset) {
                Ok(0) => return Some(hasher.finish()),
                Ok(bytes) => {
                    hasher.write(&chunk[..bytes]);
                    offset += bytes as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// A file with a first digest, and a writer of it.
    #[expect(clippy::disallowed_methods, reason = "a file of a test")]
    fn checked(name: &str) -> (std::path::PathBuf, File, ContentCheck) {
        let path = std::env::temp_dir().join(format!("muslin-content-{name}-{}", std::process::id()));
        let writer = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        writer.write_all_at(&vec![7; CHUNK_BYTES + 100], 0).unwrap();
        let check = ContentCheck::new(File::open(&path).unwrap()).unwrap();
        check.remember();
        wait_until(|| check.0.lock().digest.is_some());
        // So that each of the changes below has a time of its own.
        wait_until(|| check.0.lock().accepted.is_settled());
        (path, writer, check)
    }

    #[track_caller]
    fn wait_until(done: impl Fn() -> bool) {
        let started = Instant::now();
        while !done() {
            assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn new_times_without_new_bytes_are_no_change() {
        let (path, writer, check) = checked("touch");
        writer.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
        assert!(check.seems_unchanged() && check.is_unchanged());
        writer.write_all_at(&[7; 10], 50).unwrap();
        assert!(check.seems_unchanged() && check.is_unchanged(), "the same bytes were written");
        std::fs::rename(&path, path.with_extension("old")).unwrap();
        assert!(check.is_unchanged());
        wait_until(|| Stamp::of(&check.0.file).unwrap().is_settled());
        assert!(check.is_unchanged());
        let now = Stamp::of(&check.0.file).unwrap();
        assert!(check.0.lock().accepted == now, "the file is not read again for the same times");
        std::fs::remove_file(path.with_extension("old")).unwrap();
    }

    #[test]
    fn one_other_byte_is_a_change_also_with_the_old_time_of_modification() {
        let (path, writer, check) = checked("write");
        let modified = writer.metadata().unwrap().modified().unwrap();
        writer.write_all_at(&[8], CHUNK_BYTES as u64 + 99).unwrap();
        writer.set_modified(modified).unwrap();
        assert!(!check.is_unchanged());
        writer.write_all_at(&[7], CHUNK_BYTES as u64 + 99).unwrap();
        assert!(!check.is_unchanged(), "requests may have computed with the other byte");
        assert!(!check.seems_unchanged());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_write_is_found_by_calls_that_do_not_read_the_file() {
        let (path, writer, check) = checked("seems");
        writer.write_all_at(&[8], 0).unwrap();
        wait_until(|| !check.seems_unchanged());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_write_right_after_a_check_is_found_although_its_time_may_be_the_same() {
        let (path, writer, check) = checked("race");
        for _ in 0..50 {
            writer.write_all_at(&[7], 0).unwrap();
            assert!(check.is_unchanged());
        }
        writer.write_all_at(&[8], 0).unwrap();
        assert!(!check.is_unchanged());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn another_length_is_a_change_without_reading() {
        let (path, writer, check) = checked("length");
        writer.set_len(10).unwrap();
        assert!(!check.seems_unchanged() && !check.is_unchanged());
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_removed_file_is_unchanged_also_without_a_digest() {
        let (path, writer, _) = checked("removed");
        let check = ContentCheck::new(File::open(&path).unwrap()).unwrap();
        wait_until(|| Stamp::of(&check.0.file).unwrap().is_settled());
        std::fs::remove_file(path).unwrap();
        assert!(check.is_unchanged() && check.seems_unchanged());
        check.remember();
        wait_until(|| check.0.lock().digest.is_some());
        // A program that has the file open can still write.
        writer.write_all_at(&[8], 0).unwrap();
        assert!(!check.is_unchanged());
    }

    #[test]
    fn without_a_digest_other_times_are_a_change() {
        let (path, writer, _) = checked("none");
        let check = ContentCheck::new(File::open(&path).unwrap()).unwrap();
        assert!(check.is_unchanged());
        writer.set_modified(UNIX_EPOCH).unwrap();
        assert!(!check.is_unchanged() && !check.seems_unchanged());
        std::fs::remove_file(path).unwrap();
    }
}
