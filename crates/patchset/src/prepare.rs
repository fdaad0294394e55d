//! From a tree or tarball to a source tree that is verified, patched and guarded.
//!
//! [`Vendored::prepare`] is the only way to one. It uses no network and reads neither environment nor clock: the source is
//! fetched before, the compiler runs after. The result appears under its final name only when every check has passed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use diag::{Diagnostic, Diagnostics};
use serde::Serialize;
use store::sha256_hex;

use crate::codes::{PATCH_PRE_IMAGE, PREPARED_EXISTS};
use crate::file_list;
use crate::guard::GuardedFile;
use crate::input::Input;
use crate::library::{Vendored, VendoredPatch};
use crate::patch::{FileDiff, Patch, Refusal};

/// A source tree that is ready to be compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prepared {
    /// Name of the library.
    pub name: String,
    /// Version of the library.
    pub version: String,
    /// Where it is.
    #[serde(skip)]
    pub tree: PathBuf,
    /// [`Vendored::digest`] of the vendor folder.
    pub digest: String,
    /// The applied patches, in order.
    pub patches: Vec<VendoredPatch>,
    /// What each patch changed, in order: [`crate::liveness`] compiles the states before and after each.
    #[serde(skip)]
    pub steps: Vec<AppliedPatch>,
}

/// One patch and the files that it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedPatch {
    /// The patch.
    pub patch: VendoredPatch,
    /// In the order of the patch file.
    pub files: Vec<ChangedFile>,
}

/// One file before and after a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    /// Relative to the top of the source tree.
    pub path: String,
    /// Text before the patch.
    pub before: Vec<u8>,
    /// Text after the patch.
    pub after: Vec<u8>,
    /// Numbers, from 1, of the lines of `after` that the patch added.
    pub added: Vec<usize>,
}

impl Vendored {
    /// Unpacks, verifies, patches and guards. `dest` must not exist, and exists afterwards only when every check passed.
    pub fn prepare(&self, input: Input<'_>, dest: &Path) -> Result<Prepared> {
        if dest.exists() {
            return Err(Diagnostic::new(&PREPARED_EXISTS, "the folder for the prepared tree exists already")
                .file(dest)
                .hint("remove it, or prepare in another folder")
                .into());
        }
        let parent = dest.parent().with_context(|| format!("`{}` has no parent folder", dest.display()))?;
        fs::create_dir_all(parent).with_context(|| format!("creating folder `{}`", parent.display()))?;
        let staging = tempfile::Builder::new()
            .prefix(".preparing-")
            .tempdir_in(parent)
            .with_context(|| format!("creating a staging folder in `{}`", parent.display()))?;

        let tree = self.pristine(input, staging.path())?;
        let steps = self
            .patches
            .iter()
            .map(|(patch, vendored)| apply(patch, vendored, &tree))
            .collect::<Result<Vec<AppliedPatch>>>()?;
        fs::rename(&tree, dest)
            .with_context(|| format!("renaming the prepared tree to `{}`", dest.display()))?;
        Ok(Prepared {
            name: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            tree: dest.to_owned(),
            digest: self.digest.clone(),
            patches: self.patches().cloned().collect(),
            steps,
        })
    }

    /// The folder of the listed files, verified and not patched, for readers that need no copy.
    pub fn verified(&self, input: Input<'_>, staging: &Path) -> Result<PathBuf> {
        let source = input.unpacked(staging)?;
        file_list::verify(&source, &self.list).with_context(|| format!("verifying {input}"))?;
        Ok(source)
    }

    /// The listed files, verified and not patched, in a new folder below `staging`.
    pub fn pristine(&self, input: Input<'_>, staging: &Path) -> Result<PathBuf> {
        let tree = staging.join("tree");
        fs::create_dir(&tree).with_context(|| format!("creating `{}`", tree.display()))?;
        let source = input.unpacked(staging)?;
        file_list::verify_and_copy(&source, &self.list, &tree)
            .with_context(|| format!("verifying {input}"))?;
        Ok(tree)
    }
}

/// [`Vendored::read`] and [`Vendored::prepare`] in one.
pub fn prepare(input: Input<'_>, vendor_dir: &Path, dest: &Path) -> Result<Prepared> {
    Vendored::read(vendor_dir)?.prepare(input, dest)
}

/// Applies one patch to the tree. All violations of the patch are reported together.
fn apply(patch: &Patch, vendored: &VendoredPatch, tree: &Path) -> Result<AppliedPatch> {
    let (mut violations, mut files) = (Diagnostics::default(), Vec::new());
    for diff in &patch.files {
        // Vendored::read has checked that patch and guard list the same files.
        let Some(guarded) = vendored.guard.files.iter().find(|file| file.path == diff.path) else { continue };
        let path = tree.join(&diff.path);
        let Ok(before) = fs::read(&path) else {
            violations.push(
                Diagnostic::new(&PATCH_PRE_IMAGE, "a patched file is not among the listed files")
                    .file(&diff.path)
                    .rule(&vendored.name),
            );
            continue;
        };
        match patched(diff, guarded, &before) {
            Ok(after) => {
                fs::write(&path, &after).with_context(|| format!("writing `{}`", path.display()))?;
                files.push(ChangedFile { path: diff.path.clone(), before, after, added: diff.added_lines() });
            }
            Err(found) => {
                violations.extend(found.into_iter().map(|violation| violation.rule(&vendored.name)));
            }
        }
    }
    violations.into_result()?;
    Ok(AppliedPatch { patch: vendored.clone(), files })
}

/// The text after the patch, or every violation.
fn patched(diff: &FileDiff, guarded: &GuardedFile, before: &[u8]) -> Result<Vec<u8>, Vec<Diagnostic>> {
    let path = &diff.path;
    if sha256_hex(before) == guarded.post_sha256 {
        return Err(vec![Refusal::AlreadyApplied.diagnostic(path)]);
    }
    let after = diff.apply(before).map_err(|refusal| vec![refusal.diagnostic(path)])?;
    let mut violations = guarded.anchors_before(before);
    violations.extend(guarded.pre_image(before));
    violations.extend(guarded.after_violations(&after));
    if violations.is_empty() { Ok(after) } else { Err(violations) }
}

#[cfg(test)]
mod tests;
