//! Which files of an entry were compared with their digests, by inode, size and times, in a file beside the entry. As long as
//! these are the same, the files are not read again: the compiler alone has 170 MiB, and each run would hash it.
//!
//! Every write, rename and change of mode sets the change time, and no program can set that time back. `cargo xtask cache
//! verify` reads every file regardless.

use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::layout::verified_of;

/// Time stamps of a file system may be coarse. A file that changed less than this ago could change again within the same stamp.
const SETTLED: Duration = Duration::from_secs(2);

/// The state of the files of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FileStates(String);

impl FileStates {
    /// Reads no contents. `None` when a file cannot be read, or changed too recently.
    #[expect(
        clippy::disallowed_methods,
        reason = "compared with change times of files; it decides no byte of a release"
    )]
    pub(crate) fn of(entry: &Path, files: &[PathBuf]) -> Option<Self> {
        Self::at(entry, files, SystemTime::now())
    }

    fn at(entry: &Path, files: &[PathBuf], now: SystemTime) -> Option<Self> {
        let now = now.duration_since(UNIX_EPOCH).ok()?;
        let mut text = String::new();
        for file in files {
            let metadata = file.symlink_metadata().ok()?;
            let changed = Duration::new(
                u64::try_from(metadata.ctime()).ok()?,
                u32::try_from(metadata.ctime_nsec()).ok()?,
            );
            if now.saturating_sub(changed) < SETTLED {
                return None;
            }
            let name = file.strip_prefix(entry).ok()?.display();
            let (inode, size, modified) = (metadata.ino(), metadata.size(), metadata.mtime());
            let (modified_ns, changed_ns) = (metadata.mtime_nsec(), changed.as_nanos());
            writeln!(text, "{inode} {size} {modified}.{modified_ns:09} {changed_ns} {name}").ok()?;
        }
        Some(Self(text))
    }

    /// Whether these are the states at the last comparison.
    pub(crate) fn are_recorded(&self, entry: &Path) -> bool {
        std::fs::read_to_string(verified_of(entry)).is_ok_and(|recorded| recorded == self.0)
    }

    /// Records the states after a comparison. They were read before it, so a change during the comparison is not covered.
    /// Without the file the next run compares again, so errors are ignored.
    pub(crate) fn record(&self, entry: &Path) {
        let _ = crate::atomic_write::bytes(&verified_of(entry), 0o644, self.0.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "compared with change times of files")]
    fn a_change_of_a_file_is_seen_and_a_recent_one_is_never_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let entry = folder.path().join("entry");
        std::fs::create_dir(&entry).unwrap();
        let file = entry.join("file");
        std::fs::write(&file, "one").unwrap();
        let files = [file.clone()];
        assert!(FileStates::of(&entry, &files).is_none(), "it changed just now");

        let later = SystemTime::now() + Duration::from_secs(10);
        let states = FileStates::at(&entry, &files, later).unwrap();
        assert!(!states.are_recorded(&entry));
        states.record(&entry);
        assert!(FileStates::at(&entry, &files, later).unwrap().are_recorded(&entry));

        // The same size, and the old modification time.
        let modified = file.metadata().unwrap().modified().unwrap();
        let change_time = || file.metadata().map(|file| (file.ctime(), file.ctime_nsec())).unwrap();
        // The clock of the file system has ticks of some milliseconds.
        let before = change_time();
        while change_time() == before {
            std::fs::write(&file, "two").unwrap();
        }
        std::fs::File::options().write(true).open(&file).unwrap().set_modified(modified).unwrap();
        assert_eq!(file.metadata().unwrap().modified().unwrap(), modified);
        assert!(!FileStates::at(&entry, &files, later).unwrap().are_recorded(&entry));
        assert!(FileStates::at(&entry, &[entry.join("gone")], later).is_none());
    }
}
