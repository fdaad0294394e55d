//! Compiler calls of a build, and the sources that it makes of others, from its log.

use std::path::{Path, PathBuf};

/// A compiler call of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompilerCall {
    /// Working folder, relative to the tree.
    pub folder: PathBuf,
    /// The C source, relative to `folder`.
    pub source: String,
    /// Argument of `-o`.
    pub output: String,
    /// The command as `make` printed it.
    pub line: String,
}

/// A C source that `sed` makes of another one, line by line: `sed 's/TS/_ZEN/g' setparam-ref.c > setparam_ZEN.c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DerivedSource {
    /// Working folder, relative to the tree.
    pub folder: PathBuf,
    /// The source that `sed` reads, relative to the tree.
    pub origin: PathBuf,
    /// The source that it writes, relative to the tree.
    pub output: PathBuf,
    /// The command as `make` printed it.
    pub line: String,
}

/// All calls of a log that compile a C source, with the working folder that `make -w` printed.
pub fn compiler_calls(log: &str, tree: &Path) -> Vec<CompilerCall> {
    lines_with_folders(log, tree).filter_map(|(folder, line)| call_of(line, folder)).collect()
}

/// All C sources of a log that `sed` makes of one other C source.
pub(super) fn derived_sources(log: &str, tree: &Path) -> Vec<DerivedSource> {
    lines_with_folders(log, tree).filter_map(|(folder, line)| derived_of(line, folder)).collect()
}

/// The commands of a log, each with its working folder relative to the tree. Commands outside of the tree are left out.
fn lines_with_folders<'a>(log: &'a str, tree: &'a Path) -> impl Iterator<Item = (PathBuf, &'a str)> {
    let mut folders: Vec<PathBuf> = Vec::new();
    log.lines().filter_map(move |line| {
        if let Some((_, folder)) = line.split_once(": Entering directory '") {
            folders.push(PathBuf::from(folder.trim_end_matches('\'')));
            return None;
        }
        if line.contains(": Leaving directory '") {
            folders.pop();
            return None;
        }
        let folder = folders.last().map_or(tree, PathBuf::as_path);
        Some((folder.strip_prefix(tree).ok()?.to_owned(), line))
    })
}

fn call_of(line: &str, folder: PathBuf) -> Option<CompilerCall> {
    let line = line.split(" && ").next()?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
    words.contains(&"-c").then_some(())?;
    let source = words.iter().rev().find(|word| word.ends_with(".c"))?;
    Some(CompilerCall {
        folder,
        source: (*source).to_owned(),
        output: (*after("-o")?).to_owned(),
        line: line.to_owned(),
    })
}

fn derived_of(line: &str, folder: PathBuf) -> Option<DerivedSource> {
    let (command, output) = line.strip_prefix("sed ")?.split_once(" > ")?;
    let origin = command.split_whitespace().next_back()?;
    let are_sources = [origin, output].iter().all(|name| name.ends_with(".c"));
    are_sources.then(|| DerivedSource {
        origin: folder.join(origin),
        output: folder.join(output),
        folder,
        line: line.to_owned(),
    })
}
