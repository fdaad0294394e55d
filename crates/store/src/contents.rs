//! The digest of every file of an entry, in a list beside its record: `contents.sha256`, in the format of `sha256sum`.
//!
//! Key files are compared at every hit. The list is for all other files, such as the 19,000 headers of a compiler: they are
//! compared at a hit when the entry is small, else by `cargo xtask cache verify`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use process::Runner;

use crate::digest::Digest;
use crate::layout::{CONTENTS, RECORD};

/// Every file of an entry and its digest; the digest of a link is that of its target as text.
pub type Contents = BTreeMap<String, Digest>;

/// Digests of all files below `entry`, except the record and the list itself.
pub fn of_folder(entry: &Path, runner: &Runner) -> anyhow::Result<Contents> {
    let mut contents = Contents::new();
    for path in files_below(entry)? {
        runner.check()?;
        let metadata =
            path.symlink_metadata().with_context(|| format!("reading the metadata of {}", path.display()))?;
        let digest = match metadata.is_symlink() {
            true => Digest::of(std::fs::read_link(&path)?.to_string_lossy().as_bytes()),
            false => Digest::of_file(&path)?,
        };
        let name = path.strip_prefix(entry)?.to_str().context("a file name is not UTF-8")?.to_owned();
        if name != RECORD && name != CONTENTS {
            contents.insert(name, digest);
        }
    }
    Ok(contents)
}

/// All files and links below a folder, sorted.
pub fn files_below(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry.with_context(|| format!("reading {}", folder.display()))?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The list in the format of `sha256sum`.
pub fn to_text(contents: &Contents) -> String {
    contents.iter().fold(String::new(), |mut text, (path, digest)| {
        let _ = writeln!(text, "{digest}  {path}");
        text
    })
}

/// The inverse of [`to_text`].
pub fn parse(text: &str) -> anyhow::Result<Contents> {
    let mut contents = Contents::new();
    for line in text.lines() {
        let (digest, path) = line.split_once("  ").context("a line without a path")?;
        contents.insert(path.into(), Digest::from_hex(digest).context("a line without a digest")?);
    }
    Ok(contents)
}

/// Every difference as a sentence.
pub fn differences(recorded: &Contents, found: &Contents) -> Vec<String> {
    let mut differences = Vec::new();
    for (path, expected) in recorded {
        match found.get(path) {
            None => differences.push(format!("`{path}` is missing")),
            Some(found) if found != expected => {
                differences.push(format!("`{path}` has changed: expected {expected}, found {found}"));
            }
            Some(_) => {}
        }
    }
    let added = found.keys().filter(|path| !recorded.contains_key(*path));
    differences.extend(added.map(|path| format!("`{path}` was added after the entry was made")));
    differences
}

/// Sum of the sizes of all files below a folder, or the size of a file.
pub fn size_of(path: &Path) -> anyhow::Result<u64> {
    if !path.is_dir() {
        return Ok(path.symlink_metadata().map_or(0, |file| file.len()));
    }
    // A file that another process removes meanwhile counts as nothing.
    let sizes = files_below(path)?.into_iter().filter_map(|file| file.symlink_metadata().ok());
    Ok(sizes.map(|file| file.len()).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_missing_changed_and_added_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("sub")).unwrap();
        std::fs::write(at("sub/a.h"), "a").unwrap();
        std::fs::write(at("b"), "b").unwrap();
        std::os::unix::fs::symlink("b", at("c")).unwrap();
        let recorded = of_folder(folder.path(), &Runner::without_signals()).unwrap();
        assert_eq!(recorded.keys().collect::<Vec<_>>(), ["b", "c", "sub/a.h"]);
        assert_eq!(parse(&to_text(&recorded)).unwrap(), recorded);

        std::fs::write(at("sub/a.h"), "A").unwrap();
        std::fs::remove_file(at("b")).unwrap();
        std::fs::remove_file(at("c")).unwrap();
        std::os::unix::fs::symlink("elsewhere", at("c")).unwrap();
        std::fs::write(at("new"), "").unwrap();
        let now = of_folder(folder.path(), &Runner::without_signals()).unwrap();
        insta::assert_snapshot!(differences(&recorded, &now).join("\n"), @"
        `b` is missing
        `c` has changed: expected 3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d, found 7b1b763ee8f62eb88e4742a760f912d0b19bcd58b2b948999784bacc15a7f4d7
        `sub/a.h` has changed: expected ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb, found 559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd
        `new` was added after the entry was made
        ");
    }
}
