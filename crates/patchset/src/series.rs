//! The series of patches, laid on a tree that it may or may not have been written for: which patch still holds, and how each
//! would have to be written to hold again. For people who work on patches; a build takes [`super::Vendored::prepare`].

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::guard::{Guard, GuardedFile, pin};
use super::patch::Patch;
use super::patch::fit::{Fit, HunkFit};
use super::{Vendored, VendoredPatch, diff};
use store::sha256_hex;

/// The files of a tree, with changes that are not written to it.
pub struct Texts {
    folder: PathBuf,
    changed: BTreeMap<String, Vec<u8>>,
}

impl Texts {
    pub fn of(folder: PathBuf) -> Self {
        Self { folder, changed: BTreeMap::new() }
    }

    /// Nothing when there is no such file.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        if let Some(text) = self.changed.get(path) {
            return Ok(Some(text.clone()));
        }
        let file = self.folder.join(path);
        match std::fs::read(&file) {
            Ok(text) => Ok(Some(text)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("reading `{}`", file.display())),
        }
    }

    pub fn set(&mut self, path: &str, text: Vec<u8>) {
        self.changed.insert(path.into(), text);
    }

    /// What differs from the folder.
    pub fn changed(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.changed
    }
}

/// How a patch stands on a tree, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Exactly as it is pinned.
    Holds,
    /// Its hunks are in place; the rest of the file is another.
    Fits,
    /// Its text stands elsewhere in the file.
    Moved,
    /// The tree has it already.
    Applied,
    /// At least one hunk has no place, or its file is gone.
    Conflict,
}

/// One patch on one file.
#[derive(Debug, Clone)]
pub struct OnFile {
    pub path: String,
    /// Nothing when the tree has no such file.
    pub fit: Option<Fit>,
    pub before: Vec<u8>,
    pub standing: Standing,
    /// What the guard's digests and anchors say of the text before and after; for this text, which may be another version's.
    pub violations: Vec<String>,
}

#[derive(Debug, Clone)]
pub struct OnTree<'a> {
    pub patch: &'a VendoredPatch,
    pub files: Vec<OnFile>,
}

impl OnTree<'_> {
    pub fn standing(&self) -> Standing {
        self.files.iter().map(|file| file.standing).max().unwrap_or(Standing::Conflict)
    }

    /// Guards on text: what does not hold, digests left out (those of another version differ of course).
    pub fn anchor_violations(&self) -> impl Iterator<Item = &String> {
        self.files.iter().flat_map(|file| &file.violations).filter(|text| text.contains("[anchor-"))
    }
}

/// A file in the states below and with a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    pub path: String,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

/// Files of a patch that are to be written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    pub name: String,
    pub patch: Vec<u8>,
    pub guard: String,
}

impl Vendored {
    /// Lays the patch of one place on the texts. What has no place is left out, so that later patches can be judged too.
    pub(super) fn lay(&self, index: usize, texts: &mut Texts) -> Result<OnTree<'_>> {
        let (patch, vendored) = &self.patches[index];
        let mut files = Vec::new();
        for diff in &patch.files {
            let Some(before) = texts.read(&diff.path)? else {
                files.push(OnFile {
                    path: diff.path.clone(),
                    fit: None,
                    before: Vec::new(),
                    standing: Standing::Conflict,
                    violations: Vec::new(),
                });
                continue;
            };
            let fit = diff.fit(&before);
            let guarded = vendored.guard.files.iter().find(|file| file.path == diff.path);
            let violations =
                guarded.map(|guarded| text_violations(guarded, &before, &fit.after)).unwrap_or_default();
            texts.set(&diff.path, fit.after.clone());
            let standing = standing_of(&fit, &violations);
            files.push(OnFile { path: diff.path.clone(), fit: Some(fit), before, standing, violations });
        }
        Ok(OnTree { patch: vendored, files })
    }

    /// Lays all patches on the texts, in order.
    pub fn lay_all(&self, texts: &mut Texts) -> Result<Vec<OnTree<'_>>> {
        (0..self.patches.len()).map(|index| self.lay(index, texts)).collect()
    }

    pub(super) fn index_of(&self, name: &str) -> Result<usize> {
        let names: Vec<&str> = self.patches().map(|patch| patch.name.as_str()).collect();
        let wanted = name.trim_end_matches(".patch");
        let is_named = |known: &&str| *known == wanted || is_number_of(wanted, known);
        names.iter().position(is_named).with_context(|| {
            format!(
                "{} has no patch `{name}`\nhint: name one of {}, by its name or by its number",
                self.manifest.name,
                names.join(", ")
            )
        })
    }
}

/// In a sentence for each file, what keeps a patch from standing as it is pinned.
pub fn told(on_tree: &OnTree<'_>) -> String {
    let mut told = Vec::new();
    for file in &on_tree.files {
        let path = &file.path;
        let Some(fit) = &file.fit else {
            told.push(format!("`{path}` is not in the tree [does-not-apply]"));
            continue;
        };
        if file.standing == Standing::Applied {
            told.push(format!("`{path}`: applied already [already-applied]"));
            continue;
        }
        let mut first = 1;
        for equal in fit.hunks.chunk_by(|a, b| a == b) {
            let last = first + equal.len() - 1;
            let (hunks, stand, are) = match equal.len() {
                1 => (format!("hunk {first}"), "stands", "is"),
                _ => (format!("hunks {first} to {last}"), "stand", "are"),
            };
            match &equal[0] {
                HunkFit::InPlace => {}
                HunkFit::Moved { by } => told.push(format!("`{path}`: {hunks} {stand} {by:+} lines away [elsewhere]")),
                HunkFit::Applied => told.push(format!("`{path}`: {hunks} {are} applied already [already-applied]")),
                HunkFit::Conflict { line, expected, found } => told.push(format!(
                    "`{path}`: {hunks}: expected `{expected}` at line {line}, found `{found}` [does-not-apply]"
                )),
            }
            first = last + 1;
        }
        // Text after a patch that is not whole says nothing.
        let counts = |text: &&String| fit.is_placed() || text.contains("[anchor-before]");
        told.extend(file.violations.iter().filter(counts).cloned());
    }
    told.join("\n")
}

/// `0002` and `2` both name `0002-give-workers-an-explicit-stack`.
pub fn is_number_of(number: &str, name: &str) -> bool {
    let plain = |text: &str| text.parse::<u32>().ok();
    plain(number).is_some() && plain(number) == name.split('-').next().and_then(plain)
}

/// [`told`] without digests: those of another version differ of course; hunks and anchors are what counts.
pub fn told_without_digests(on_tree: &OnTree<'_>) -> String {
    let counts =
        |line: &&str| !["[pre-image]", "[post-image]", "hint:"].iter().any(|part| line.contains(part));
    told(on_tree).lines().filter(counts).collect::<Vec<_>>().join("\n")
}

fn text_violations(guarded: &GuardedFile, before: &[u8], after: &[u8]) -> Vec<String> {
    let mut violations = guarded.before_violations(before);
    let found = sha256_hex(before);
    if found != guarded.pre_sha256 {
        let pinned = &guarded.pre_sha256;
        violations.push(format!(
            "`{}`: expected sha256 {pinned} before the patch, found {found} [pre-image]",
            guarded.path
        ));
    }
    violations.extend(guarded.after_violations(after));
    violations
}

fn standing_of(fit: &Fit, violations: &[String]) -> Standing {
    let any = |wanted: fn(&HunkFit) -> bool| fit.hunks.iter().any(wanted);
    match () {
        () if any(|hunk| matches!(hunk, HunkFit::Conflict { .. })) => Standing::Conflict,
        () if fit.is_applied() => Standing::Applied,
        // some hunks are in the tree, others are not: neither the patch nor the file without it
        () if any(|hunk| *hunk == HunkFit::Applied) => Standing::Conflict,
        () if any(|hunk| matches!(hunk, HunkFit::Moved { .. })) => Standing::Moved,
        () if violations.is_empty() => Standing::Holds,
        () => Standing::Fits,
    }
}

/// A patch and its guard as they must read for these texts. What need not change does not: text of a file whose states before
/// and after are the same stays byte for byte.
pub fn rewrite(name: &str, old_patch: &[u8], old_guard: &str, files: &[Edit]) -> Result<Rewritten> {
    let old_diffs = Patch::parse(old_patch).map(|patch| patch.files).unwrap_or_default();
    let mut text = Patch::header_bytes(old_patch).to_vec();
    for Edit { path, before, after } in files {
        let kept = old_diffs.iter().find(|diff| diff.path == *path);
        match kept.filter(|diff| diff.apply(before).is_ok_and(|result| result == *after)) {
            Some(diff) => text.extend(&diff.text),
            None => text.extend(diff::unified(path, before, after, diff::CONTEXT_LINES)),
        }
    }
    let parsed = Patch::parse(&text)?;
    for Edit { path, before, after } in files {
        let diff = parsed.files.iter().find(|diff| diff.path == *path).context("a file without its diff")?;
        let result =
            diff.apply(before).map_err(|refusal| anyhow::anyhow!("`{path}`: the new diff {refusal}"))?;
        ensure!(result == *after, "`{path}`: the new diff does not give the text that it was made from");
    }
    // A file that the patch no longer changes needs no guard.
    let mut guard = without_other_files(old_guard, files);
    let known =
        |guard: &str, path: &str| guard.lines().any(|line| line.trim() == format!("path = \"{path}\""));
    for Edit { path, before, after } in files {
        if !known(&guard, path) {
            let diff =
                parsed.files.iter().find(|diff| diff.path == *path).context("a file without its diff")?;
            guard.push_str(&pin::block(diff, before, after)?);
        }
    }
    Guard::parse(&guard)?;
    for Edit { path, before, after } in files {
        guard = pin::pin(&guard, path, before, after)?;
    }
    Ok(Rewritten { name: name.into(), patch: text, guard })
}

fn without_other_files(guard: &str, files: &[Edit]) -> String {
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    for line in guard.split_inclusive('\n') {
        if line.trim_start().starts_with("[[") {
            blocks.push(Vec::new());
        }
        blocks.last_mut().expect("there is a first one").push(line);
    }
    let stays = |block: &&Vec<&str>| {
        block.first().is_none_or(|first| first.trim() != "[[file]]")
            || files
                .iter()
                .any(|Edit { path, .. }| block.iter().any(|line| line.trim() == format!("path = \"{path}\"")))
    };
    blocks.iter().filter(stays).flatten().copied().collect()
}

#[cfg(test)]
mod tests;
