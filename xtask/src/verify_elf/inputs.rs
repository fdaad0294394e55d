//! From what stands on the command line to files: folders, patterns, lists and links come out as paths, in stable order.
//!
//! It opens folders and lists, no file that is to be judged.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::bail;
use diag::Diagnostic;

/// One file to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// As reports call it.
    pub name: String,
    pub source: Source,
    /// The user named it, so it has to be something that can be judged; what lies in a folder may be anything.
    pub is_named: bool,
}

impl Input {
    pub fn path(&self) -> Option<&Path> {
        match &self.source {
            Source::Path(path) => Some(path),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Path(PathBuf),
    Stdin,
    /// Nothing to read: what the user named is not there, or cannot be opened.
    Missing {
        error: String,
        hint: String,
    },
}

/// What came of the operands.
#[derive(Debug, Default)]
pub struct Inputs {
    pub files: Vec<Input>,
    /// Names that lead to a file or folder that another name led to before.
    pub seen_before: usize,
    /// Links to nothing, devices, sockets, pipes: nothing that a release carries as a program.
    pub not_files: usize,
    seen: HashSet<(u64, u64)>,
    /// Followed last, so that a file is known by its own name rather than by one of its links.
    links: Vec<(PathBuf, String)>,
}

/// Nesting of folders; deeper than any release, and less than what would use up the stack.
const FOLDER_DEPTH_MAX: usize = 200;

impl Inputs {
    pub fn of(operands: &[PathBuf]) -> anyhow::Result<Inputs> {
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

    fn operand(&mut self, operand: &Path, may_be_list: bool) -> anyhow::Result<()> {
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
        let hint = format!("`ls -l {}` shows what is there", folder.display());
        self.unreadable(name, error, hint);
    }

    fn unreadable(&mut self, name: String, error: String, hint: String) {
        let source =
            Source::Missing { error: format!("cannot read `{name}`: {}", without_number(&error)), hint };
        self.files.push(Input { name, source, is_named: true });
    }

    /// One name a line; they are not patterns and not lists.
    fn list(&mut self, list: &str) -> anyhow::Result<()> {
        let mut text = String::new();
        let read = match list {
            "-" => std::io::stdin().read_to_string(&mut text),
            _ => fs::File::open(list).and_then(|mut file| file.read_to_string(&mut text)),
        };
        if let Err(error) = read {
            return Err(Diagnostic::new(
                &release::GENERAL,
                format!("cannot read the list `{list}`: {error}"),
            )
            .hint("give a file whose name begins with @ as `./@...`")
            .into());
        }
        for line in text.lines().filter(|line| !line.is_empty()) {
            self.operand(Path::new(line), false)?;
        }
        Ok(())
    }

    fn pattern(&mut self, pattern: &str, missing: &std::io::Error) -> anyhow::Result<()> {
        let paths = match glob::glob(pattern) {
            Ok(paths) => paths,
            Err(error) => {
                return Err(Diagnostic::new(
                    &release::GENERAL,
                    format!("`{pattern}` is neither a file nor a pattern: {error}"),
                )
                .hint("in a pattern `[` opens a set of characters: `[[]` stands for itself")
                .into());
            }
        };
        let before = self.files.len() + self.links.len() + self.seen_before + self.not_files;
        for path in paths.filter_map(Result::ok) {
            let name = path.display().to_string();
            self.unnamed(path, name, 0)?;
        }
        if before == self.files.len() + self.links.len() + self.seen_before + self.not_files {
            self.missing(pattern.into(), format!("{missing}, and as a pattern it matches nothing"));
        }
        Ok(())
    }

    fn unnamed(&mut self, path: PathBuf, name: String, depth: usize) -> anyhow::Result<()> {
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
    ) -> anyhow::Result<()> {
        // A pipe is another one each time, even when the numbers are the same.
        let is_one_of_its_kind = metadata.is_file() || metadata.is_dir();
        if is_one_of_its_kind && !self.seen.insert((metadata.dev(), metadata.ino())) {
            self.seen_before += 1;
            return Ok(());
        }
        if metadata.is_dir() {
            return self.folder(path, depth);
        }
        // Opening a pipe that nobody writes to would wait for ever; stdin (`-`) is the way for what a program writes.
        if !metadata.is_file() {
            if is_named {
                let hint = format!("give what comes out of it on stdin: `cargo xtask verify-elf - < {name}`");
                self.unreadable(name, "it is a pipe, a socket or a device".into(), hint);
            } else {
                self.not_files += 1;
            }
            return Ok(());
        }
        self.files.push(Input { name, source: Source::Path(path.into()), is_named });
        Ok(())
    }

    fn folder(&mut self, folder: &Path, depth: usize) -> anyhow::Result<()> {
        if depth > FOLDER_DEPTH_MAX {
            bail!("`{}` lies more than {FOLDER_DEPTH_MAX} folders deep", folder.display());
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

/// `No such file or directory (os error 2)` without what only a program wants to know.
fn without_number(error: &str) -> String {
    match error.split_once(" (os error ") {
        Some((text, rest)) => format!("{text}{}", rest.split_once(')').map_or("", |(_, after)| after)),
        None => error.into(),
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
    fn folders_come_out_sorted_and_links_are_followed_once() {
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
        assert_eq!((inputs.seen_before, inputs.not_files), (3, 1));
    }

    #[test]
    fn lists_patterns_and_what_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["x1", "x2", "y[1]"] {
            fs::write(at(name), name).unwrap();
        }
        fs::write(at("list"), format!("{}\n\n{}\n", at("x2").display(), at("gone").display())).unwrap();
        let of = |operand: String| Inputs::of(&[operand.into()]).unwrap();
        assert_eq!(names(folder.path(), &of(at("x*").display().to_string())), ["x1", "x2"]);
        // A file of that name comes before a pattern.
        assert_eq!(names(folder.path(), &of(at("y[1]").display().to_string())), ["y[1]"]);
        let listed = of(format!("@{}", at("list").display()));
        assert_eq!(names(folder.path(), &listed), ["x2", "gone"]);
        assert!(matches!(listed.files[1].source, Source::Missing { .. }));
        let none = of(at("z*").display().to_string());
        assert!(
            matches!(&none.files[..], [Input { source: Source::Missing { error, .. }, .. }] if error.contains("matches nothing"))
        );
        assert!(Inputs::of(&["@no-such-list".into()]).is_err());
    }
}
