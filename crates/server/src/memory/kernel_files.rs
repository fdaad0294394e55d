//! Source of the kernel's files: a root folder, or a list in memory.

use std::path::Path;

/// Reads files below `/proc` and `/sys`.
pub trait KernelFiles {
    /// The content of `file`, absolute or not; `None` when it cannot be read.
    fn read(&self, file: &Path) -> Option<String>;
}

/// The files below this folder.
impl KernelFiles for Path {
    fn read(&self, file: &Path) -> Option<String> {
        std::fs::read_to_string(self.join(file.strip_prefix("/").unwrap_or(file))).ok()
    }
}

/// Pairs of a path without the leading slash, and a content.
impl KernelFiles for [(String, String)] {
    fn read(&self, file: &Path) -> Option<String> {
        let file = file.strip_prefix("/").unwrap_or(file);
        self.iter().find(|(path, _)| Path::new(path) == file).map(|(_, text)| text.clone())
    }
}
