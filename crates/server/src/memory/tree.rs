//! Where the kernel's files are read from: the root folder of this machine, that of a machine made for a test, or a list.

use std::path::Path;

pub trait Tree {
    /// The content of `file`, absolute or not; `None` when it cannot be read.
    fn text(&self, file: &Path) -> Option<String>;
}

/// Everything below this folder.
impl Tree for Path {
    fn text(&self, file: &Path) -> Option<String> {
        std::fs::read_to_string(self.join(file.strip_prefix("/").unwrap_or(file))).ok()
    }
}

/// Path without the first slash, and content.
impl Tree for [(String, String)] {
    fn text(&self, file: &Path) -> Option<String> {
        let file = file.strip_prefix("/").unwrap_or(file);
        self.iter().find(|(path, _)| Path::new(path) == file).map(|(_, text)| text.clone())
    }
}
