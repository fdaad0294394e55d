//! `files.sha256`: every file of the tree that is built, with its digest.
//!
//! [`verify_and_copy`] decides what is compiled: only a listed file with the listed bytes gets into the tree. So any tree
//! serves as input, upstream's or a distribution's.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use diag::{Diagnostic, Diagnostics, Location};
use store::{is_sha256_hex, sha256_hex};

use crate::codes::{SOURCE_DIGEST, VENDOR_FILE};
use crate::manifest::is_plain_relative;
use crate::toml_file;

/// How many differing files a message names; the rest is a count.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// The list, in the format of `sha256sum`, sorted by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    files: Vec<ListedFile>,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Relative to the top of the source tree.
    pub path: String,
    /// 64 lower-case hex digits.
    pub sha256: String,
}

impl FileList {
    /// Reads and checks a list.
    pub fn read(path: &Path) -> Result<Self, Diagnostics> {
        let text = toml_file::read(path, &VENDOR_FILE)?;
        Self::parse(&text).map_err(|invalid| toml_file::in_file(path, invalid))
    }

    /// Strict: an unsorted list or a duplicate shows that the list was edited by hand.
    pub fn parse(text: &str) -> Result<Self, Diagnostics> {
        let mut files: Vec<ListedFile> = Vec::new();
        let mut invalid = Diagnostics::default();
        for (index, line) in text.lines().enumerate() {
            let problem = |message: &str| {
                Diagnostic::new(&VENDOR_FILE, message).at(Location { line: index + 1, column: 1 }).found(line)
            };
            let Some((sha256, path)) = line.split_once("  ") else {
                invalid.push(problem("a line has no digest and path").expected("DIGEST  PATH"));
                continue;
            };
            if !is_sha256_hex(sha256) {
                invalid.push(problem("a digest is malformed").expected("64 lower-case hex digits"));
            }
            if !is_plain_relative(path) {
                invalid.push(problem("a path is absolute or leads out of the tree"));
            }
            if files.last().is_some_and(|last| last.path.as_str() >= path) {
                invalid.push(problem("a path is out of order or listed twice"));
            }
            files.push(ListedFile { path: path.to_owned(), sha256: sha256.to_owned() });
        }
        if files.is_empty() {
            invalid.push(Diagnostic::new(&VENDOR_FILE, "the list of files is empty: it would verify nothing"));
        }
        if invalid.0.is_empty() { Ok(Self { files }) } else { Err(invalid) }
    }

    /// All files, sorted by path.
    pub fn files(&self) -> &[ListedFile] {
        &self.files
    }

    /// The list as text; its digest names the source in a fingerprint.
    pub fn to_text(&self) -> String {
        self.files.iter().fold(String::new(), |mut text, file| {
            // writing to a String cannot fail
            let _ = writeln!(text, "{}  {}", file.sha256, file.path);
            text
        })
    }
}

/// Copies every listed file from `source_tree` to `dest`; the digest is that of the bytes that are written. Other files are
/// not copied. All missing and changed files are reported together; then `dest` must not be used.
pub fn verify_and_copy(source_tree: &Path, list: &FileList, dest: &Path) -> Result<()> {
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    for_each_verified(source_tree, list, |relative, bytes, is_executable| {
        let to = dest.join(relative);
        if let Some(folder) = to.parent()
            && folders.insert(folder.to_owned())
        {
            fs::create_dir_all(folder).with_context(|| format!("creating folder `{}`", folder.display()))?;
        }
        fs::write(&to, bytes).with_context(|| format!("writing `{}`", to.display()))?;
        // make starts c_check, so the right to execute is kept; nothing else of the mode matters
        let mode = if is_executable { 0o755 } else { 0o644 };
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))
            .with_context(|| format!("setting the mode of `{}`", to.display()))
    })
}

/// Compares every listed file in place, for readers that need no copy. All differences are reported together.
pub fn verify(source_tree: &Path, list: &FileList) -> Result<()> {
    for_each_verified(source_tree, list, |_, _, _| Ok(()))
}

/// Calls `take` with every listed file, its bytes and whether it is executable, until the first problem.
fn for_each_verified(
    source_tree: &Path,
    list: &FileList,
    mut take: impl FnMut(&Path, &[u8], bool) -> Result<()>,
) -> Result<()> {
    let mut problems: Vec<String> = Vec::new();
    for file in &list.files {
        let relative = Path::new(&file.path);
        let from = source_tree.join(relative);
        let metadata = match fs::symlink_metadata(&from) {
            Ok(metadata) => metadata,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                problems.push(format!("`{}`: missing", file.path));
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("reading `{}`", from.display())),
        };
        if !metadata.is_file() {
            problems.push(format!("`{}`: expected a file, found a folder, link or device", file.path));
            continue;
        }
        let bytes = fs::read(&from).with_context(|| format!("reading `{}`", from.display()))?;
        let found = sha256_hex(&bytes);
        if found != file.sha256 {
            problems.push(format!("`{}`: expected sha256 {}, found {found}", file.path, file.sha256));
            continue;
        }
        if !problems.is_empty() {
            continue; // the copy is unusable; the remaining files are only compared
        }
        take(relative, &bytes, metadata.permissions().mode() & 0o111 != 0)?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    let total = problems.len();
    let mut found = problems[..total.min(PROBLEMS_SHOWN_MAX)].join("\n");
    if total > PROBLEMS_SHOWN_MAX {
        let _ = write!(found, "\nand {} more", total - PROBLEMS_SHOWN_MAX);
    }
    Err(Diagnostic::new(
        &SOURCE_DIGEST,
        format!("{total} of {} listed files are missing or changed", list.files.len()),
    )
    .file(source_tree)
    .found(found)
    .hint("fetch the source again; for another version, make the list again from a checked tree")
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree_of(files: &[(&str, &str)]) -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    fn list_of(files: &[(&str, &str)]) -> FileList {
        let mut lines: Vec<String> =
            files.iter().map(|(path, text)| format!("{}  {path}", sha256_hex(text.as_bytes()))).collect();
        lines.sort_by(|a, b| a[66..].cmp(&b[66..]));
        FileList::parse(&lines.join("\n")).unwrap()
    }

    #[test]
    fn rejects_every_malformed_list() {
        let digest = sha256_hex(b"");
        let good = format!("{digest}  a\n{digest}  b/c\n");
        assert_eq!(FileList::parse(&good).unwrap().to_text(), good);
        for (what, bad) in [
            ("empty", String::new()),
            ("one space", format!("{digest} a\n")),
            ("absolute", format!("{digest}  /a\n")),
            ("parent", format!("{digest}  a/../b\n")),
            ("order", format!("{digest}  b\n{digest}  a\n")),
            ("twice", format!("{digest}  a\n{digest}  a\n")),
            ("short digest", format!("{}  a\n", &digest[1..])),
        ] {
            assert!(FileList::parse(&bad).is_err(), "{what} was accepted");
        }
    }

    #[test]
    fn copies_listed_files_only() {
        let tree = tree_of(&[("a.c", "a"), ("sub/b.c", "b"), ("extra.c", "x")]);
        let dest = tempfile::tempdir().unwrap();
        verify_and_copy(tree.path(), &list_of(&[("a.c", "a"), ("sub/b.c", "b")]), dest.path()).unwrap();
        assert_eq!(fs::read_to_string(dest.path().join("sub/b.c")).unwrap(), "b");
        assert!(!dest.path().join("extra.c").exists());
    }

    fn problems(tree: &Path, list: &FileList) -> Diagnostic {
        let dest = tempfile::tempdir().unwrap();
        let error = verify_and_copy(tree, list, dest.path()).unwrap_err();
        // the folder has another name in each run
        diag::collect(&error).remove(0).file("TREE")
    }

    #[test]
    fn reports_every_bad_file_together() {
        let tree = tree_of(&[("changed.c", "new"), ("good.c", "good"), ("folder.c/x", "x")]);
        let list = list_of(&[("changed.c", "old"), ("folder.c", ""), ("gone.c", ""), ("good.c", "good")]);
        let problem = problems(tree.path(), &list);
        insta::assert_snapshot!(diag::render::human(&[problem], diag::render::Style::default()));
    }

    #[test]
    fn ends_a_long_report_in_a_count() {
        let names: Vec<String> = (0..50).map(|i| format!("f{i:02}.c")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        let tree = tempfile::tempdir().unwrap();
        let problem = problems(tree.path(), &list_of(&files));
        let found = problem.fields().found.clone().unwrap();
        assert_eq!(problem.fields().message, "50 of 50 listed files are missing or changed");
        assert_eq!(found.matches(": missing").count(), PROBLEMS_SHOWN_MAX);
        assert!(found.ends_with("\nand 30 more"), "{found}");
    }
}
