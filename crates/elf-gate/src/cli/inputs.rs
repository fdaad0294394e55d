//! Expands operands to files: folders, patterns, lists and links, in a stable order.
//!
//! The module opens folders and lists, but no file that is judged.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use diag::Diagnostic;

use crate::codes;

/// One file to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Name in reports.
    pub name: String,
    /// Where the bytes come from.
    pub source: Source,
    /// The user named the file, so it must contain an ELF file. Files of a folder may have any format.
    pub is_named: bool,
}

impl Input {
    /// The path of a file.
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::Path(path) => Some(path),
            _ => None,
        }
    }
}

/// Where the bytes of an input come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A regular file.
    Path(PathBuf),
    /// Standard input.
    Stdin,
    /// The file does not exist or cannot be opened.
    Missing(Diagnostic),
}

/// The expanded operands.
#[derive(Debug, Default)]
pub struct Inputs {
    /// The files.
    pub files: Vec<Input>,
    /// Further names of files and folders that are already included.
    pub duplicates: usize,
    /// Broken links, devices, sockets and pipes in folders.
    pub not_files: usize,
    seen: HashSet<(u64, u64)>,
    /// Followed last, so that reports use the name of a file and not the name of a link.
    links: Vec<(PathBuf, String)>,
}

/// Bound of nested folders: deeper than any release, and small enough for the stack.
const FOLDER_DEPTH_MAX: usize = 200;

impl Inputs {
    /// Expands operands.
    pub fn of(operands: &[PathBuf]) -> Result<Inputs, Diagnostic> {
        let mut inputs = Inputs::default();
        for operand in operands {
            inputs.operand(operand, true)?;
        }
        while !inputs.links.is_empty() {
            for (path, name) in std::mem::take(&mut inputs.links) {
                match fs::metadata(&path) {
                    Ok(metadata) => inputs.entry(&path, name, &metadata, false, 0)?,
                    Err(_) => inputs.not_files += 1,
                }
            }
        }
        Ok(inputs)
    }

    fn operand(&mut self, operand: &Path, may_be_list: bool) -> Result<(), Diagnostic> {
        let name = operand.display().to_string();
        if name == "-" {
            self.files.push(Input { name: "(stdin)".into(), source: Source::Stdin, is_named: true });
            return Ok(());
        }
        if let (true, Some(list)) = (may_be_list, name.strip_prefix('@')) {
            return self.list(list);
        }
        match fs::metadata(operand) {
            Ok(metadata) => self.entry(operand, name, &metadata, true, 0),
            Err(error) if name.contains(['*', '?', '[']) => self.pattern(&name, &error),
            Err(error) => {
                self.missing(name, error.to_string());
                Ok(())
            }
        }
    }

    fn missing(&mut self, name: String, error: String) {
        let folder = Path::new(&name).parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let hint = format!("list the folder: `ls -l {}`", folder.display());
        self.unreadable(name, &error, hint);
    }

    fn unreadable(&mut self, name: String, error: &str, hint: String) {
        let message = format!("cannot read `{name}`");
        let source = Source::Missing(Diagnostic::new(&codes::UNREADABLE, message).cause(error).hint(hint));
        self.files.push(Input { name, source, is_named: true });
    }

    /// One name per line. The names are neither patterns nor lists.
    fn list(&mut self, list: &str) -> Result<(), Diagnostic> {
        let mut text = String::new();
        let read = match list {
            "-" => std::io::stdin().read_to_string(&mut text),
            _ => fs::File::open(list).and_then(|mut file| file.read_to_string(&mut text)),
        };
        if let Err(error) = read {
            return Err(Diagnostic::new(&codes::UNREADABLE, format!("cannot read the list `{list}`"))
                .cause(error)
                .hint("write the name of a file that starts with @ as `./@...`"));
        }
        for line in text.lines().filter(|line| !line.is_empty()) {
            self.operand(Path::new(line), false)?;
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &str, missing: &std::io::Error) -> Result<(), Diagnostic> {
        let paths = match glob::glob(pattern) {
            Ok(paths) => paths,
            Err(error) => {
                return Err(Diagnostic::new(
                    &codes::USAGE,
                    format!("`{pattern}` is neither a file nor a pattern"),
                )
                .cause(error)
                .hint("in a pattern `[` starts a set of characters: `[[]` matches `[`"));
            }
        };
        let before = self.files.len() + self.links.len() + self.duplicates + self.not_files;
        for path in paths.filter_map(Result::ok) {
            let name = path.display().to_string();
            self.unnamed(path, name, 0)?;
        }
        if before == self.files.len() + self.links.len() + self.duplicates + self.not_files {
            self.missing(pattern.into(), format!("{missing}; as a pattern it matches no file"));
        }
        Ok(())
    }

    fn unnamed(&mut self, path: PathBuf, name: String, depth: usize) -> Result<(), Diagnostic> {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_symlink() => {
                self.links.push((path, name));
                Ok(())
            }
            Ok(metadata) => self.entry(&path, name, &metadata, false, depth),
            Err(_) => {
                self.not_files += 1;
                Ok(())
            }
        }
    }

    fn entry(
        &mut self,
        path: &Path,
        name: String,
        metadata: &Metadata,
        is_named: bool,
        depth: usize,
    ) -> Result<(), Diagnostic> {
        // Pipes with equal numbers may be different pipes.
        let has_identity = metadata.is_file() || metadata.is_dir();
        if has_identity && !self.seen.insert((metadata.dev(), metadata.ino())) {
            self.duplicates += 1;
            return Ok(());
        }
        if metadata.is_dir() {
            return self.folder(path, depth);
        }
        // Opening a pipe without a writer blocks; the output of a program is read from stdin (`-`).
        if !metadata.is_file() {
            if is_named {
                let hint = format!("pass its contents on stdin: `elf-gate - < {name}`");
                self.unreadable(name, "it is a pipe, a socket or a device", hint);
            } else {
                self.not_files += 1;
            }
            return Ok(());
        }
        self.files.push(Input { name, source: Source::Path(path.into()), is_named });
        Ok(())
    }

    fn folder(&mut self, folder: &Path, depth: usize) -> Result<(), Diagnostic> {
        if depth > FOLDER_DEPTH_MAX {
            let message = format!("`{}` lies more than {FOLDER_DEPTH_MAX} folders deep", folder.display());
            return Err(Diagnostic::new(&codes::UNREADABLE, message).hint("name the folder itself"));
        }
        let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<Result<Vec<_>, _>>());
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                self.missing(folder.display().to_string(), error.to_string());
                return Ok(());
            }
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = path.display().to_string();
            self.unnamed(path, name, depth + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path, inputs: &Inputs) -> Vec<String> {
        let prefix = format!("{}/", folder.display());
        inputs.files.iter().map(|input| input.name.replace(&prefix, "")).collect()
    }

    #[test]
    fn sorts_folders_and_follows_each_link_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        for name in ["b", "sub/a", "c"] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink("c", at("a-link-to-c")).unwrap();
        std::os::unix::fs::symlink(".", at("sub/loop")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("broken")).unwrap();
        fs::hard_link(at("b"), at("b-again")).unwrap();
        let inputs = Inputs::of(&[folder.path().into()]).unwrap();
        assert_eq!(names(folder.path(), &inputs), ["b", "c", "sub/a"]);
        assert_eq!((inputs.duplicates, inputs.not_files), (3, 1));
    }

    #[test]
    fn expands_lists_and_patterns_and_reports_missing_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["x1", "x2", "y[1]"] {
            fs::write(at(name), name).unwrap();
        }
        fs::write(at("list"), format!("{}\n\n{}\n", at("x2").display(), at("gone").display())).unwrap();
        let of = |operand: String| Inputs::of(&[operand.into()]).unwrap();
        assert_eq!(names(folder.path(), &of(at("x*").display().to_string())), ["x1", "x2"]);
        // A file with that name takes precedence over the pattern.
        assert_eq!(names(folder.path(), &of(at("y[1]").display().to_string())), ["y[1]"]);
        let listed = of(format!("@{}", at("list").display()));
        assert_eq!(names(folder.path(), &listed), ["x2", "gone"]);
        assert!(matches!(listed.files[1].source, Source::Missing(_)));
        let none = of(at("z*").display().to_string());
        let [Input { source: Source::Missing(error), .. }] = &none.files[..] else {
            panic!("one missing file")
        };
        let message = error.to_string().replace(&folder.path().display().to_string(), "FOLDER");
        insta::assert_snapshot!(message, @"
        cannot read `FOLDER/z*`
          because:  No such file or directory (os error 2); as a pattern it matches no file
        ");
        assert!(Inputs::of(&["@no-such-list".into()]).is_err());
    }
}
