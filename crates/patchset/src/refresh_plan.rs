//! What a refresh or a bump would write, and every violation. Nothing is written before [`RefreshPlan::write`].

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use diag::Diagnostic;

use crate::library::Vendored;
use crate::rewrite::{FileEdit, RewrittenPatch, rewrite};
use crate::series::{Overlay, PatchFit, PatchStatus};

/// Files to write, and the violations that speak against it.
#[derive(Debug)]
pub struct RefreshPlan<'a> {
    /// The edited patch, or the new version.
    pub name: String,
    /// Files that the patch changes now.
    pub files: Vec<String>,
    /// The patches above it.
    pub later: Vec<PatchFit<'a>>,
    /// Violations of the edited patch. Nothing can be written with them.
    pub violations: Vec<Diagnostic>,
    /// Violations of later patches, which can be corrected afterwards.
    pub later_violations: Vec<Diagnostic>,
    /// Files and their new content; unchanged files are left out.
    pub writes: Vec<(PathBuf, Vec<u8>)>,
}

impl RefreshPlan<'_> {
    /// An empty plan for a patch or a version.
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            files: Vec::new(),
            later: Vec::new(),
            violations: Vec::new(),
            later_violations: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Writes the planned files; each appears complete or not at all.
    pub fn write(&self) -> Result<()> {
        self.writes.iter().try_for_each(|(path, text)| store::atomic_write::bytes(path, 0o644, text))
    }

    /// Plans the files of a patch that differ from those on disk.
    pub(crate) fn add(&mut self, vendor_dir: &Path, written: RewrittenPatch) {
        let patches = vendor_dir.join("patches");
        for (ending, text) in [("patch", written.patch), ("guard.toml", written.guard.into_bytes())] {
            let path = patches.join(format!("{}.{ending}", written.name));
            if fs::read(&path).ok().as_ref() != Some(&text) {
                self.writes.push((path, text));
            }
        }
    }
}

impl Vendored {
    /// Plans the patches from index `first` on, each rewritten for the texts of the overlay.
    pub(crate) fn plan_later<'a>(
        &'a self,
        first: usize,
        overlay: &mut Overlay,
        vendor_dir: &Path,
        plan: &mut RefreshPlan<'a>,
    ) -> Result<()> {
        for index in first..self.patches.len() {
            let fit = self.apply_at(index, overlay)?;
            let name = &fit.patch.name;
            let status = fit.status();
            if status >= PatchStatus::Applied {
                plan.later_violations.extend(fit.violations());
            } else if status > PatchStatus::Holds {
                plan.later_violations.extend(fit.anchor_violations());
                let (patch, guard) = read_pair(vendor_dir, name)?;
                let edits: Vec<FileEdit> = fit
                    .files
                    .iter()
                    .filter_map(|file| {
                        let after = file.diff.as_ref()?.after.clone();
                        Some(FileEdit { path: file.path.clone(), before: file.before.clone(), after })
                    })
                    .collect();
                let written = rewrite(name, &patch, &String::from_utf8(guard)?, &edits)
                    .with_context(|| format!("rewriting patch `{name}`"))?;
                plan.add(vendor_dir, written);
            }
            plan.later.push(fit);
        }
        Ok(())
    }
}

/// The bytes of a patch file and of its guard.
pub(crate) fn read_pair(vendor_dir: &Path, name: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let folder = vendor_dir.join("patches");
    let read = |path: PathBuf| fs::read(&path).with_context(|| format!("reading `{}`", path.display()));
    Ok((read(folder.join(format!("{name}.patch")))?, read(folder.join(format!("{name}.guard.toml")))?))
}
