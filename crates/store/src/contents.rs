//! The digest of every file of an entry, in a list beside its record: `contents.sha256`, in the format of `sha256sum`.
//!
//! Key files decide what a build does with an entry and are compared at every hit. This list is for the rest, the 19,000
//! headers of a compiler say: compared at a hit when the entry is small, else by `cargo xtask cache verify`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::Digest;
use crate::{CONTENTS, RECORD};
use process::Runner;

/// Every file of an entry and its digest; of a link, that of the text that it holds.
pub type Contents = BTreeMap<String, Digest>;

/// Digests everything below `entry` but the record and the list itself.
pub fn of_folder(entry: &Path, runner: &Runner) -> anyhow::Result<Contents> {
    let mut contents = Contents::new();
    for path in files_below(entry)? {
        runner.check()?;
        let kind = path.symlink_metadata().with_context(|| format!("looking at {}", path.display()))?;
        let digest = match kind.is_symlink() {
            true => Digest::of(std::fs::read_link(&path)?.to_string_lossy().as_bytes()),
            false => Digest::of_file(&path)?,
        };
        let name = path.strip_prefix(entry)?.to_str().context("a name that is not UTF-8")?.to_owned();
        if name != RECORD && name != CONTENTS {
            contents.insert(name, digest);
        }
    }
    Ok(contents)
}

/// Files and links, whoever made them.
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

pub fn to_text(contents: &Contents) -> String {
    contents.iter().fold(String::new(), |mut text, (path, digest)| {
        let _ = writeln!(text, "{digest}  {path}");
        text
    })
}

pub fn parse(text: &str) -> anyhow::Result<Contents> {
    let mut contents = Contents::new();
    for line in text.lines() {
        let (digest, path) = line.split_once("  ").context("a line without a path")?;
        contents.insert(path.into(), Digest::from_hex(digest).context("a line without a digest")?);
    }
    Ok(contents)
}

/// Every difference, by file.
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
    let strangers = found.keys().filter(|path| !recorded.contains_key(*path));
    differences.extend(strangers.map(|path| format!("`{path}` was not there when the entry was made")));
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_changed_and_added_files_are_named() {
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
        let told =
            differences(&recorded, &of_folder(folder.path(), &Runner::without_signals()).unwrap()).join("\n");
        for part in ["`b` is missing", "`c` has changed", "`sub/a.h` has changed", "`new` was not there"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}
