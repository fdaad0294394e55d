//! How the series of patches fits a tree that it may not have been written for. For work on patches; a build uses
//! [`Vendored::prepare`].

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};
use diag::{Diagnostic, Location};
use serde::Serialize;

use crate::codes::{
    PATCH_ALREADY_APPLIED, PATCH_ANCHOR_AFTER, PATCH_ANCHOR_BEFORE, PATCH_DOES_NOT_APPLY, PATCH_MOVED,
    PATCH_POST_IMAGE, PATCH_PRE_IMAGE,
};
use crate::library::{Vendored, VendoredPatch};
use crate::patch::{DiffFit, HunkFit};

/// The files of a folder, with changes that are kept in memory.
pub struct Overlay {
    folder: PathBuf,
    changed: BTreeMap<String, Vec<u8>>,
}

impl Overlay {
    /// An overlay without changes.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, changed: BTreeMap::new() }
    }

    /// The text of a file; `None` when it does not exist.
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

    /// Replaces the text of a file.
    pub fn set(&mut self, path: &str, text: Vec<u8>) {
        self.changed.insert(path.into(), text);
    }

    /// The replaced texts.
    pub fn changed(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.changed
    }
}

/// How a patch fits a tree, worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PatchStatus {
    /// Exactly as pinned.
    Holds,
    /// Its hunks are in place; other lines of the file have changed.
    Fits,
    /// Its text is on other lines.
    Moved,
    /// The tree already holds it.
    Applied,
    /// At least one hunk has no place, or its file is missing.
    Conflict,
}

impl PatchStatus {
    /// All of them, in order.
    pub const ALL: [Self; 5] = [Self::Holds, Self::Fits, Self::Moved, Self::Applied, Self::Conflict];
}

/// One patch on one file.
#[derive(Debug, Clone)]
pub struct FileFit {
    /// Relative to the top of the source tree.
    pub path: String,
    /// `None` when the tree has no such file.
    pub diff: Option<DiffFit>,
    /// Text before the patch.
    pub before: Vec<u8>,
    /// How the patch fits this file.
    pub status: PatchStatus,
    /// Violated digests and anchors of this text, which may be another version's.
    pub violations: Vec<Diagnostic>,
}

/// One patch on a tree.
#[derive(Debug, Clone)]
pub struct PatchFit<'a> {
    /// The patch.
    pub patch: &'a VendoredPatch,
    /// In the order of the patch file.
    pub files: Vec<FileFit>,
}

impl PatchFit<'_> {
    /// The worst status of its files.
    pub fn status(&self) -> PatchStatus {
        self.files.iter().map(|file| file.status).max().unwrap_or(PatchStatus::Conflict)
    }

    /// Violated anchors. Digests are omitted: those of another version always differ.
    pub fn anchor_violations(&self) -> impl Iterator<Item = Diagnostic> {
        let is_anchor = |violation: &&Diagnostic| {
            *violation.code() == PATCH_ANCHOR_BEFORE || *violation.code() == PATCH_ANCHOR_AFTER
        };
        let violations = self.files.iter().flat_map(|file| &file.violations);
        violations.filter(is_anchor).map(|violation| violation.clone().rule(&self.patch.name))
    }

    /// Every reason why the patch does not hold; the rule of each is the patch.
    pub fn violations(&self) -> Vec<Diagnostic> {
        let violations = self.files.iter().flat_map(FileFit::all_violations);
        violations.map(|violation| violation.rule(&self.patch.name)).collect()
    }

    /// [`PatchFit::violations`] without digests, which always differ for another version.
    pub fn violations_without_digests(&self) -> Vec<Diagnostic> {
        let is_digest = |violation: &Diagnostic| {
            *violation.code() == PATCH_PRE_IMAGE || *violation.code() == PATCH_POST_IMAGE
        };
        self.violations().into_iter().filter(|violation| !is_digest(violation)).collect()
    }
}

impl FileFit {
    fn all_violations(&self) -> Vec<Diagnostic> {
        let Some(fit) = &self.diff else {
            return vec![
                Diagnostic::new(&PATCH_DOES_NOT_APPLY, "a patched file is not in the tree").file(&self.path),
            ];
        };
        if self.status == PatchStatus::Applied {
            return vec![
                Diagnostic::new(&PATCH_ALREADY_APPLIED, "the patch is already applied").file(&self.path),
            ];
        }
        let mut violations = self.hunk_violations(fit);
        // The text after an incomplete patch is not the text that `after` describes.
        let counts =
            |violation: &&Diagnostic| fit.is_placed() || *violation.code() == PATCH_ANCHOR_BEFORE;
        violations.extend(self.violations.iter().filter(counts).cloned());
        violations
    }

    fn hunk_violations(&self, fit: &DiffFit) -> Vec<Diagnostic> {
        let mut violations = Vec::new();
        let mut first = 1;
        for equal in fit.hunks.chunk_by(|a, b| a == b) {
            let last = first + equal.len() - 1;
            let (hunks, are) = match equal.len() {
                1 => (format!("hunk {first}"), "is"),
                _ => (format!("hunks {first} to {last}"), "are"),
            };
            first = last + 1;
            let violation = match &equal[0] {
                HunkFit::InPlace => continue,
                HunkFit::Moved { by } => {
                    Diagnostic::new(&PATCH_MOVED, format!("{hunks} {are} {by:+} lines away"))
                }
                HunkFit::Applied => {
                    Diagnostic::new(&PATCH_ALREADY_APPLIED, format!("{hunks} {are} already applied"))
                }
                HunkFit::Conflict { line, expected, found } => {
                    Diagnostic::new(&PATCH_DOES_NOT_APPLY, format!("{hunks} does not apply"))
                        .at(Location { line: *line, column: 1 })
                        .expected(format!("`{expected}`"))
                        .found(format!("`{found}`"))
                }
            };
            violations.push(violation.file(&self.path));
        }
        violations
    }
}

impl Vendored {
    /// Applies the patch at `index` to the overlay. Hunks without a place are left out, so that later patches can be judged.
    pub(crate) fn apply_at(&self, index: usize, overlay: &mut Overlay) -> Result<PatchFit<'_>> {
        let (patch, vendored) = &self.patches[index];
        let mut files = Vec::new();
        for diff in &patch.files {
            let path = diff.path.clone();
            let Some(before) = overlay.read(&path)? else {
                files.push(FileFit {
                    path,
                    diff: None,
                    before: Vec::new(),
                    status: PatchStatus::Conflict,
                    violations: Vec::new(),
                });
                continue;
            };
            let fit = diff.fit(&before);
            let mut violations = Vec::new();
            if let Some(guarded) = vendored.guard.files.iter().find(|file| file.path == path) {
                violations.extend(guarded.anchors_before(&before));
                violations.extend(guarded.pre_image(&before));
                violations.extend(guarded.after_violations(&fit.after));
            }
            overlay.set(&path, fit.after.clone());
            let status = status_of(&fit, &violations);
            files.push(FileFit { path, diff: Some(fit), before, status, violations });
        }
        Ok(PatchFit { patch: vendored, files })
    }

    /// Applies all patches to the overlay, in order.
    pub fn apply_all(&self, overlay: &mut Overlay) -> Result<Vec<PatchFit<'_>>> {
        (0..self.patches.len()).map(|index| self.apply_at(index, overlay)).collect()
    }
}

fn status_of(fit: &DiffFit, violations: &[Diagnostic]) -> PatchStatus {
    let any = |is_wanted: fn(&HunkFit) -> bool| fit.hunks.iter().any(is_wanted);
    match () {
        () if any(|hunk| matches!(hunk, HunkFit::Conflict { .. })) => PatchStatus::Conflict,
        () if fit.is_applied() => PatchStatus::Applied,
        // the tree holds some hunks and not others: neither the patched nor the unpatched file
        () if any(|hunk| *hunk == HunkFit::Applied) => PatchStatus::Conflict,
        () if any(|hunk| matches!(hunk, HunkFit::Moved { .. })) => PatchStatus::Moved,
        () if violations.is_empty() => PatchStatus::Holds,
        () => PatchStatus::Fits,
    }
}

#[cfg(test)]
mod tests;
