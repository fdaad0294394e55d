//! Codes of this crate.

diag::codes! {
    /// A file of an entry differs from its record.
    pub ENTRY_CHANGED = Environment "cache-entry-changed": "a file of a cache entry differs from its recorded digest" {
        "cause": "a program wrote into the cache, or the disk is failing",
        "fix": "`cargo xtask cache verify --repair` removes broken entries; the next build makes them again",
    }
    /// An entry vanished.
    pub ENTRY_REMOVED = Environment "cache-entry-removed": "a cache entry was removed while it was in use" {
        "cause": "two `cache gc` or repairs at the same time, or `rm` in the cache",
        "fix": "run the command again",
    }
    /// An entry is in use.
    pub ENTRY_IN_USE = Environment "cache-entry-in-use": "a cache entry is locked by another process" {
        "cause": "another build uses the entry",
        "fix": "wait until that build has ended, then run the command again",
    }
    /// A file or folder cannot be written.
    pub CANNOT_WRITE = Environment "cannot-write": "a file or folder cannot be written" {
        "cause": "permissions, a read-only or full disk, or a file where a folder should be",
        "fix": "name another folder: `--cache-dir`, `--dist-dir`",
    }
}
