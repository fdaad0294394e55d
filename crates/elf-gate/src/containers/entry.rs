//! Entries of a layer: their kinds and paths.

/// The longest path that Linux accepts. Longer ones are dropped.
pub(super) const PATH_BYTES_MAX: usize = 4096;

/// What a path of a layer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryKind {
    Folder,
    /// A file, a hard link or a device.
    File,
    /// A symbolic link, with its target.
    Link(String),
}

/// Makes `./usr/bin/` and `/usr/bin` equal.
pub(super) fn normalized(path: &str) -> String {
    path.trim_start_matches("./").trim_matches('/').into()
}
