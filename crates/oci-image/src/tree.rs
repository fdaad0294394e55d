//! The files of a specification as a tree: paths are unique and plain, contents are read, parents exist.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use diag::{Diagnostic, Diagnostics};

use crate::codes::IMAGE_SPEC;
use crate::path::path_problem;
use crate::spec::{Content, ImageFile};

/// Absolute path to entry; parents sort before their contents.
pub type Tree<'a> = BTreeMap<String, TreeEntry<'a>>;

/// A checked file or folder with its bytes.
pub struct TreeEntry<'a> {
    pub mode: u32,
    /// `None` for a folder.
    pub bytes: Option<Cow<'a, [u8]>>,
}

/// Reads every source file once and reports every problem.
pub fn build<'a>(files: &'a [ImageFile], problems: &mut Diagnostics) -> Tree<'a> {
    let mut tree = Tree::new();
    for file in files {
        let path = &file.path;
        if let Some(reason) = path_problem(path) {
            problems.push(Diagnostic::new(&IMAGE_SPEC, format!("the path `{path}` {reason}")));
            continue;
        }
        if file.mode > 0o7777 {
            problems.push(
                Diagnostic::new(&IMAGE_SPEC, format!("the mode of `{path}` has more than permission bits"))
                    .expected("at most 0o7777")
                    .found(format!("{:#o}", file.mode))
                    .hint(format!("0o{:o} without the file type", file.mode & 0o7777)),
            );
        }
        let bytes = match &file.content {
            Content::Folder => None,
            Content::Bytes(bytes) => Some(Cow::Borrowed(bytes.as_slice())),
            Content::Source(source) => match read_regular(path, source) {
                Ok(bytes) => Some(Cow::Owned(bytes)),
                Err(problem) => {
                    problems.push(problem);
                    // An empty file, so that a missing source is not reported again as a missing entrypoint.
                    Some(Cow::Borrowed([].as_slice()))
                }
            },
        };
        if tree.insert(path.clone(), TreeEntry { mode: file.mode & 0o7777, bytes }).is_some() {
            problems.push(
                Diagnostic::new(&IMAGE_SPEC, format!("the path `{path}` is listed twice"))
                    .hint("keep one of them"),
            );
        }
    }
    if files.is_empty() {
        problems.push(
            Diagnostic::new(&IMAGE_SPEC, "the image has no files")
                .expected("at least the program of the entrypoint"),
        );
    }
    add_parents(&mut tree, problems);
    tree
}

/// Adds the parent folders of every file, and rejects files that are parents.
fn add_parents(tree: &mut Tree<'_>, problems: &mut Diagnostics) {
    let parents: BTreeSet<String> = tree
        .keys()
        .flat_map(|path| path.match_indices('/').skip(1).map(|(end, _)| path[..end].to_owned()))
        .collect();
    for parent in parents {
        let entry = tree.entry(parent.clone()).or_insert(TreeEntry { mode: 0o755, bytes: None });
        if entry.bytes.is_some() {
            problems.push(Diagnostic::new(
                &IMAGE_SPEC,
                format!("`{parent}` is a file, and other files are listed below it"),
            ));
        }
    }
}

fn read_regular(path: &str, source: &Path) -> Result<Vec<u8>, Diagnostic> {
    let unreadable = |found: String| {
        Diagnostic::new(&IMAGE_SPEC, format!("the source of `{path}` cannot be read"))
            .file(source)
            .expected("a regular file")
            .found(found)
            .hint(format!("ls -l '{}'", source.display()))
    };
    // Before opening: opening a pipe blocks until it has a writer.
    let metadata = source.metadata().map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable(if metadata.is_dir() { "a folder" } else { "a special file" }.into()));
    }
    std::fs::read(source).map_err(|error| unreadable(error.to_string()))
}
