//! Compiler calls of a build, from its log.

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

/// All calls of a log that compile a C source, with the working folder that `make -w` printed.
pub fn compiler_calls(log: &str, tree: &Path) -> Vec<CompilerCall> {
    let mut folders: Vec<PathBuf> = Vec::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        if let Some((_, folder)) = line.split_once(": Entering directory '") {
            folders.push(PathBuf::from(folder.trim_end_matches('\'')));
        } else if line.contains(": Leaving directory '") {
            folders.pop();
        } else if let Some(call) = call_of(line, folders.last().map_or(tree, PathBuf::as_path), tree) {
            calls.push(call);
        }
    }
    calls
}

fn call_of(line: &str, folder: &Path, tree: &Path) -> Option<CompilerCall> {
    let line = line.split(" && ").next()?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |flag: &str| words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
    words.contains(&"-c").then_some(())?;
    let source = words.iter().rev().find(|word| word.ends_with(".c"))?;
    Some(CompilerCall {
        folder: folder.strip_prefix(tree).ok()?.to_owned(),
        source: (*source).to_owned(),
        output: (*after("-o")?).to_owned(),
        line: line.to_owned(),
    })
}
