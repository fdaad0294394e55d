//! What a vendored library is made from: `source.toml` says where it comes from, `files.sha256` says what it must hold.
//!
//! [`verify_and_copy`] is the door: only a file that is on the list, with the bytes that the list names, gets into the tree
//! that is patched and compiled. So any tree will do as input, upstream's or a distribution's. Nothing here fetches or
//! unpacks, and nothing knows how the library is built.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use store::{is_sha256_hex, sha256_hex};

/// How many bad files a message names; the rest is a count.
const PROBLEMS_SHOWN_MAX: usize = 20;

/// `source.toml`: a library, and where its source can be had.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct SourceManifest {
    pub name: String,
    pub version: String,
    pub licence: String,
    pub homepage: String,
    /// Name of the list of digests, beside `source.toml`.
    pub files: String,
    /// Names of the patches, in order. Written down outside of their folder, so that a re-import that drops some of them is
    /// told from a decision to do without.
    #[serde(default)]
    pub patches: Vec<String>,
    /// In order of preference.
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
}

/// One place that the source can be had from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Source {
    /// A Debian source package, of which only the upstream tarball is used.
    DebianSource { package: String, version: String, orig_tarball: String, orig_sha256: String },
    /// A package of crates.io that carries the C source of the library, such as the crate that binds it.
    Crate { package: String, version: String, sha256: String },
    /// A tarball at a fixed address. Without a digest of its own the list of files is what verifies it.
    Archive { url: String, sha256: Option<String> },
}

impl Source {
    /// For messages and records.
    pub fn describe(&self) -> String {
        match self {
            Source::DebianSource { package, .. } => format!("Debian's source package `{package}`"),
            Source::Crate { package, version, .. } => format!("the crate `{package}` {version}"),
            Source::Archive { url, .. } => url.clone(),
        }
    }
}

impl SourceManifest {
    /// Reads and checks `source.toml`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
        Self::parse(&text).with_context(|| format!("in `{}`", path.display()))
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text)?;
        for (key, value) in [
            ("name", &manifest.name),
            ("version", &manifest.version),
            ("licence", &manifest.licence),
            ("homepage", &manifest.homepage),
        ] {
            ensure!(!value.trim().is_empty(), "`{key}` is empty");
        }
        ensure!(
            is_inside_tree(&manifest.files),
            "`files` must be a path beside source.toml, found `{}`",
            manifest.files
        );
        ensure!(!manifest.sources.is_empty(), "no `[[source]]`: the library could not be fetched");
        for source in &manifest.sources {
            let digest = match source {
                Source::DebianSource { orig_sha256, .. } => Some(orig_sha256),
                Source::Crate { sha256, .. } => Some(sha256),
                Source::Archive { sha256, .. } => sha256.as_ref(),
            };
            if let Some(digest) = digest {
                ensure!(
                    is_sha256_hex(digest),
                    "expected a digest of 64 lowercase hex digits, found `{digest}`"
                );
            }
        }
        Ok(manifest)
    }
}

/// `files.sha256`: every file of the tree that is built, with its digest, in the format of `sha256sum`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileList {
    files: Vec<ListedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    pub path: String,
    pub sha256: String,
}

impl FileList {
    /// Reads and checks a list.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading `{}`", path.display()))?;
        Self::parse(&text).with_context(|| format!("in `{}`", path.display()))
    }

    /// Strict: a list that is out of order or names a file twice was edited by hand, and is better made again.
    pub fn parse(text: &str) -> Result<Self> {
        let mut files: Vec<ListedFile> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let Some((sha256, path)) = line.split_once("  ") else {
                bail!("line {number}: expected `DIGEST  PATH`, found `{line}`");
            };
            ensure!(
                is_sha256_hex(sha256),
                "line {number}: expected 64 lowercase hex digits, found `{sha256}`"
            );
            ensure!(is_inside_tree(path), "line {number}: `{path}` is not a plain relative path");
            if let Some(last) = files.last() {
                ensure!(last.path.as_str() < path, "line {number}: `{path}` is out of order or there twice");
            }
            files.push(ListedFile { path: path.to_owned(), sha256: sha256.to_owned() });
        }
        ensure!(!files.is_empty(), "the list is empty: it would verify nothing");
        Ok(Self { files })
    }

    pub fn files(&self) -> &[ListedFile] {
        &self.files
    }

    /// The list as text again; its digest names the source in a fingerprint.
    pub fn to_text(&self) -> String {
        self.files.iter().fold(String::new(), |mut text, file| {
            // writing to a String cannot fail
            let _ = writeln!(text, "{}  {}", file.sha256, file.path);
            text
        })
    }
}

fn is_inside_tree(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Copies every listed file from `source_tree` to `dest`, each verified by the bytes that are then written. What is not
/// listed stays out. All missing and changed files are reported at once; then `dest` must not be used.
pub fn verify_and_copy(source_tree: &Path, list: &FileList, dest: &Path) -> Result<()> {
    let mut folders: BTreeSet<PathBuf> = BTreeSet::new();
    each_verified(source_tree, list, |relative, bytes, may_be_run| {
        let to = dest.join(relative);
        if let Some(folder) = to.parent()
            && folders.insert(folder.to_owned())
        {
            fs::create_dir_all(folder).with_context(|| format!("making folder `{}`", folder.display()))?;
        }
        fs::write(&to, bytes).with_context(|| format!("writing `{}`", to.display()))?;
        // c_check is started by make; whether a file may be run is all that counts of its mode
        let mode = if may_be_run { 0o755 } else { 0o644 };
        fs::set_permissions(&to, fs::Permissions::from_mode(mode))
            .with_context(|| format!("setting the mode of `{}`", to.display()))
    })
}

/// Compares every listed file where it lies, for those who only read it. All that differ are reported at once.
pub fn verify(source_tree: &Path, list: &FileList) -> Result<()> {
    each_verified(source_tree, list, |_, _, _| Ok(()))
}

/// Hands over every listed file with its bytes and whether it may be run, as long as none has failed.
fn each_verified(
    source_tree: &Path,
    list: &FileList,
    mut take: impl FnMut(&Path, &[u8], bool) -> Result<()>,
) -> Result<()> {
    let mut problems: Vec<String> = Vec::new();
    for file in &list.files {
        let relative = Path::new(&file.path);
        let from = source_tree.join(relative);
        let kind = match fs::symlink_metadata(&from) {
            Ok(kind) => kind,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                problems.push(format!("`{}`: missing", file.path));
                continue;
            }
            Err(error) => return Err(error).with_context(|| format!("looking at `{}`", from.display())),
        };
        if !kind.is_file() {
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
            continue; // the copy is lost already; only the other problems are still of interest
        }
        take(relative, &bytes, kind.permissions().mode() & 0o111 != 0)?;
    }
    if problems.is_empty() {
        return Ok(());
    }
    let total = problems.len();
    let mut message = format!(
        "source tree `{}`: {total} of {} listed files are missing or changed [source-digest]",
        source_tree.display(),
        list.files.len()
    );
    for problem in problems.iter().take(PROBLEMS_SHOWN_MAX) {
        let _ = write!(message, "\n  {problem}");
    }
    if total > PROBLEMS_SHOWN_MAX {
        let _ = write!(message, "\n  and {} more", total - PROBLEMS_SHOWN_MAX);
    }
    bail!(
        "{message}\nhint: fetch the source again; if the version moved on purpose, make the list anew from a checked tree"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        name = "tiny"
        version = "1.0"
        licence = "MIT"
        homepage = "https://example.org/"
        files = "files.sha256"
        [[source]]
        kind = "archive"
        url = "https://example.org/tiny-1.0.tar.gz"
    "#;

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
    fn manifest_is_strict() {
        assert_eq!(SourceManifest::parse(SOURCE).unwrap().sources.len(), 1);
        for (what, bad) in [
            ("unknown key", SOURCE.replace("licence", "license")),
            ("unknown key in a source", SOURCE.replace("url =", "sha = \"x\"\nurl =")),
            ("unknown kind", SOURCE.replace("\"archive\"", "\"git\"")),
            ("no source", SOURCE[..SOURCE.find("[[").unwrap()].to_owned()),
            ("short digest", format!("{SOURCE}\nsha256 = \"abc\"")),
            ("list outside of the folder", SOURCE.replace("files.sha256", "../files.sha256")),
            ("empty version", SOURCE.replace("1.0\"\n        lic", "\"\n        lic")),
        ] {
            assert!(SourceManifest::parse(&bad).is_err(), "{what} was accepted");
        }
    }

    #[test]
    fn list_is_strict() {
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
    fn only_listed_files_are_copied() {
        let tree = tree_of(&[("a.c", "a"), ("sub/b.c", "b"), ("extra.c", "x")]);
        let dest = tempfile::tempdir().unwrap();
        verify_and_copy(tree.path(), &list_of(&[("a.c", "a"), ("sub/b.c", "b")]), dest.path()).unwrap();
        assert_eq!(fs::read_to_string(dest.path().join("sub/b.c")).unwrap(), "b");
        assert!(!dest.path().join("extra.c").exists());
    }

    #[test]
    fn every_bad_file_is_reported() {
        let tree = tree_of(&[("changed.c", "new"), ("good.c", "good"), ("folder.c/x", "x")]);
        let list = list_of(&[("changed.c", "old"), ("folder.c", ""), ("gone.c", ""), ("good.c", "good")]);
        let dest = tempfile::tempdir().unwrap();
        let message = verify_and_copy(tree.path(), &list, dest.path()).unwrap_err().to_string();
        assert!(message.contains("3 of 4 listed files"), "{message}");
        assert!(
            message.contains(&format!("`changed.c`: expected sha256 {}", sha256_hex(b"old"))),
            "{message}"
        );
        assert!(message.contains(&format!("found {}", sha256_hex(b"new"))), "{message}");
        assert!(message.contains("`gone.c`: missing"), "{message}");
        assert!(message.contains("`folder.c`: expected a file"), "{message}");
        assert!(message.contains("\nhint: "), "{message}");
    }

    #[test]
    fn a_long_report_ends_in_a_count() {
        let names: Vec<String> = (0..50).map(|i| format!("f{i:02}.c")).collect();
        let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
        let (tree, dest) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let message = verify_and_copy(tree.path(), &list_of(&files), dest.path()).unwrap_err().to_string();
        assert!(message.contains("50 of 50"), "{message}");
        assert!(message.contains("and 30 more"), "{message}");
        assert_eq!(message.matches(": missing").count(), PROBLEMS_SHOWN_MAX);
    }
}
