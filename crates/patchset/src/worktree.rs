//! Work on a patch: a plain tree to edit, and the patch file written again from it. As quilt does, with digests.
//!
//! [`Vendored::refresh`] and [`Vendored::bump`] return a [`RefreshPlan`] and write nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use diag::Diagnostic;
use serde::{Deserialize, Serialize};

use crate::codes::{PATCH_NAME, WORKTREE};
use crate::guard::Guard;
use crate::input::Input;
use crate::library::{Vendored, pair_violations};
use crate::patch::Patch;
use crate::refresh_plan::{RefreshPlan, read_pair};
use crate::rewrite::{FileEdit, RewrittenPatch, rewrite};
use crate::series::{Overlay, PatchStatus};
use crate::{diff, templates};

/// Our folder in the worktree; everything else in it is source.
const SESSION_FOLDER: &str = ".muslin";

/// What a worktree was made for.
#[derive(Debug, Serialize, Deserialize)]
struct SessionRecord {
    library: String,
    patch: String,
    is_new: bool,
    /// Digest of the source and the patches below this one: a worktree with another base gives a wrong diff.
    base: String,
}

/// A worktree that is ready to be edited.
#[derive(Debug)]
pub struct EditSession {
    /// Name of the patch.
    pub patch: String,
    /// Files that the patch changes.
    pub files: Vec<String>,
    /// A file with the hunks that have no place in this tree, to be applied by hand.
    pub rejected: Option<PathBuf>,
    /// The folder with header and guard of a new patch.
    pub templates: Option<PathBuf>,
}

/// The patch to work on.
#[derive(Debug, Clone, Copy)]
pub enum EditTarget<'a> {
    /// An existing patch, by name or number.
    Existing(&'a str),
    /// The name of a new patch, above all others.
    New(&'a str),
}

impl Vendored {
    /// Makes a worktree with all patches up to and including the target.
    pub fn open(&self, input: Input<'_>, target: EditTarget<'_>, tree: &Path) -> Result<EditSession> {
        if tree.exists() {
            return Err(Diagnostic::new(&WORKTREE, "the worktree exists already")
                .file(tree)
                .hint("`vendor diff` shows its edits; `vendor edit --discard` removes it")
                .into());
        }
        let (index, name) = self.resolve(target)?;
        let parent = tree.parent().context("a worktree without a parent folder")?;
        fs::create_dir_all(parent).with_context(|| format!("creating folder `{}`", parent.display()))?;
        let staging = tempfile::Builder::new().prefix(".preparing-").tempdir_in(parent)?;
        let pristine = self.pristine(input, staging.path())?;
        let mut overlay = Overlay::new(pristine.clone());
        self.apply_below(index, &mut overlay)?;
        let folder = pristine.join(SESSION_FOLDER);
        fs::create_dir(&folder)?;
        let mut session =
            EditSession { patch: name.clone(), files: Vec::new(), rejected: None, templates: None };
        let is_new = index == self.patches.len();
        if is_new {
            fs::write(folder.join("header"), templates::header(&name, &self.manifest.version))?;
            fs::write(folder.join("guard.toml"), templates::guard(&name))?;
            session.templates = Some(tree.join(SESSION_FOLDER));
        } else {
            let fit = self.apply_at(index, &mut overlay)?;
            let pairs = fit.files.iter().zip(&self.patches[index].0.files);
            let rejected: String = pairs
                .map(|(file, diff)| match &file.diff {
                    Some(fit) => diff.rejected(fit),
                    None => format!("{}: is not in this tree\n", diff.path),
                })
                .collect();
            session.files = fit.files.iter().map(|file| file.path.clone()).collect();
            if !rejected.is_empty() {
                fs::write(folder.join("rejected"), rejected)?;
                session.rejected = Some(tree.join(SESSION_FOLDER).join("rejected"));
            }
        }
        for (path, text) in overlay.changed() {
            fs::write(pristine.join(path), text).with_context(|| format!("writing `{path}`"))?;
        }
        let base = self.base_digest(index);
        let record = SessionRecord { library: self.manifest.name.clone(), patch: name, is_new, base };
        fs::write(folder.join("session.json"), serde_json::to_string_pretty(&record)?)?;
        fs::rename(&pristine, tree).with_context(|| format!("renaming the worktree to `{}`", tree.display()))?;
        Ok(session)
    }

    /// Plans the patch of an edited worktree, and all patches above it.
    pub fn refresh(&self, input: Input<'_>, vendor_dir: &Path, tree: &Path) -> Result<RefreshPlan<'_>> {
        let session = self.session(tree)?;
        let staging = tempfile::tempdir()?;
        let (index, mut overlay) = self.below(&session, input, staging.path())?;
        let mut edits = self.edits(tree, &overlay)?;
        if edits.is_empty() {
            return Err(Diagnostic::new(
                &WORKTREE,
                format!("the worktree holds no change, so `{}` would be empty", session.patch),
            )
            .file(tree)
            .hint("to drop a patch, remove its file, its guard and its name in source.toml")
            .into());
        }
        let order: Vec<&str> = match self.patches.get(index) {
            Some((patch, _)) => patch.files.iter().map(|diff| diff.path.as_str()).collect(),
            None => Vec::new(),
        };
        edits.sort_by_key(|edit| order.iter().position(|known| *known == edit.path).unwrap_or(order.len()));

        let (old_patch, old_guard) = match session.is_new {
            true => {
                let folder = tree.join(SESSION_FOLDER);
                (fs::read(folder.join("header"))?, fs::read(folder.join("guard.toml"))?)
            }
            false => read_pair(vendor_dir, &session.patch)?,
        };
        let written = rewrite(&session.patch, &old_patch, &String::from_utf8(old_guard)?, &edits)
            .with_context(|| format!("rewriting patch `{}`", session.patch))?;
        let mut plan = RefreshPlan::new(&session.patch);
        plan.violations = own_violations(&written, &edits, vendor_dir)?;
        plan.files = edits.iter().map(|edit| edit.path.clone()).collect();
        for FileEdit { path, after, .. } in edits {
            overlay.set(&path, after);
        }
        plan.add(vendor_dir, written);
        self.plan_later(index + 1, &mut overlay, vendor_dir, &mut plan)?;
        if session.is_new {
            let path = vendor_dir.join("source.toml");
            let text = templates::add_patch(&fs::read_to_string(&path)?, &session.patch)?;
            plan.writes.push((path, text.into_bytes()));
        }
        Ok(plan)
    }

    /// The diff that a refresh would add to the patch of an edited worktree.
    pub fn worktree_diff(&self, input: Input<'_>, tree: &Path) -> Result<Vec<u8>> {
        let session = self.session(tree)?;
        let staging = tempfile::tempdir()?;
        let (index, mut overlay) = self.below(&session, input, staging.path())?;
        if !session.is_new {
            self.apply_at(index, &mut overlay)?;
        }
        let edits = self.edits(tree, &overlay)?;
        let diffs = edits.iter().map(|edit| diff::unified(&edit.path, &edit.before, &edit.after, diff::CONTEXT_LINES));
        Ok(diffs.flatten().collect())
    }

    /// The diff of one patch, with `context` lines around each change.
    pub fn patch_diff(&self, input: Input<'_>, name: &str, context: usize) -> Result<Vec<u8>> {
        let index = self.index_of(name)?;
        let staging = tempfile::tempdir()?;
        let mut overlay = Overlay::new(self.verified(input, staging.path())?);
        self.apply_below(index, &mut overlay)?;
        let fit = self.apply_at(index, &mut overlay)?;
        let files = fit.files.iter().filter_map(|file| Some((file, file.diff.as_ref()?)));
        Ok(files.flat_map(|(file, fit)| diff::unified(&file.path, &file.before, &fit.after, context)).collect())
    }

    fn resolve(&self, target: EditTarget<'_>) -> Result<(usize, String)> {
        let name = match target {
            EditTarget::Existing(name) => {
                let index = self.index_of(name)?;
                return Ok((index, self.patches[index].1.name.clone()));
            }
            EditTarget::New(name) => name.trim_end_matches(".patch"),
        };
        let number = name.split_once('-').map_or("", |(number, _)| number);
        let last = self.patches().last().map_or("", |patch| patch.name.as_str());
        let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || name <= last {
            return Err(Diagnostic::new(&PATCH_NAME, format!("`{name}` cannot be the name of a new patch"))
                .expected(format!("four digits and a reason, sorted after `{last}`: `0042-why-it-exists`"))
                .into());
        }
        Ok((self.patches.len(), name.to_owned()))
    }

    fn session(&self, tree: &Path) -> Result<SessionRecord> {
        let path = tree.join(SESSION_FOLDER).join("session.json");
        let text = fs::read_to_string(&path).map_err(|error| {
            Diagnostic::new(&WORKTREE, "the folder was not made by `vendor edit`")
                .file(tree)
                .cause(error)
                .hint(format!("cargo xtask vendor edit {} PATCH", self.manifest.name))
        })?;
        let session: SessionRecord =
            serde_json::from_str(&text).with_context(|| format!("reading `{}`", path.display()))?;
        if session.library != self.manifest.name {
            return Err(Diagnostic::new(&WORKTREE, "the worktree is of another library")
                .file(tree)
                .expected(&self.manifest.name)
                .found(session.library)
                .into());
        }
        Ok(session)
    }

    /// The state below the patch of a session. It must be the state that the worktree was made from.
    fn below(&self, session: &SessionRecord, input: Input<'_>, staging: &Path) -> Result<(usize, Overlay)> {
        let target = match session.is_new {
            true => EditTarget::New(&session.patch),
            false => EditTarget::Existing(&session.patch),
        };
        let (index, _) = self.resolve(target)?;
        if self.base_digest(index) != session.base {
            return Err(Diagnostic::new(&WORKTREE, format!("the base of `{}` has changed", session.patch))
                .expected("the source and the patches below it as they were when the worktree was made")
                .hint(
                    "keep the output of `vendor diff`, make the worktree again with `vendor edit --discard`, and repeat \
                     the edits",
                )
                .into());
        }
        let mut overlay = Overlay::new(self.verified(input, staging)?);
        self.apply_below(index, &mut overlay)?;
        Ok((index, overlay))
    }

    fn apply_below(&self, index: usize, overlay: &mut Overlay) -> Result<()> {
        for below in 0..index {
            let fit = self.apply_at(below, overlay)?;
            if fit.status() != PatchStatus::Holds {
                let (library, patch) = (&self.manifest.name, &fit.patch.name);
                let violations = diag::Diagnostics(fit.violations());
                return Err(Diagnostic::new(&WORKTREE, format!("patch `{patch}` below it does not hold"))
                    .found(violations.to_string())
                    .hint(format!("correct it first: cargo xtask vendor edit {library} {patch}"))
                    .into());
            }
        }
        Ok(())
    }

    /// Files of the worktree that differ, with both texts.
    fn edits(&self, tree: &Path, overlay: &Overlay) -> Result<Vec<FileEdit>> {
        let listed: BTreeSet<&str> = self.list.files().iter().map(|file| file.path.as_str()).collect();
        let mut unexpected: Vec<String> = Vec::new();
        for path in store::files_below(tree)? {
            let name = path.strip_prefix(tree)?.to_string_lossy().into_owned();
            if !name.starts_with(SESSION_FOLDER) && !listed.contains(name.as_str()) {
                unexpected.push(format!("`{name}`: is not in the source"));
            }
        }
        let mut edits = Vec::new();
        for path in listed {
            let before = overlay.read(path)?.with_context(|| format!("`{path}` is not in the source"))?;
            match fs::read(tree.join(path)) {
                Ok(after) if after == before => {}
                Ok(after) => edits.push(FileEdit { path: path.to_owned(), before, after }),
                Err(error) => unexpected.push(format!("`{path}`: {error}")),
            }
        }
        if !unexpected.is_empty() {
            return Err(Diagnostic::new(&WORKTREE, "the worktree holds other files than the source")
                .file(tree)
                .expected("the files of the source, changed in place")
                .found(unexpected.join("\n"))
                .hint(
                    "a patch neither adds nor removes files: remove the files of editors and builds, restore the removed \
                     ones",
                )
                .into());
        }
        Ok(edits)
    }
}

/// Violations of the edited patch and its guard; the rule of each is the patch.
fn own_violations(written: &RewrittenPatch, edits: &[FileEdit], vendor_dir: &Path) -> Result<Vec<Diagnostic>> {
    let (patch, guard) = (Patch::parse(&written.patch)?, Guard::parse(&written.guard)?);
    let mut violations = Vec::new();
    for FileEdit { path, before, after } in edits {
        let guarded =
            guard.files.iter().find(|file| file.path == *path).context("a changed file has no guard")?;
        violations.extend(guarded.anchors_before(before));
        violations.extend(guarded.after_violations(after));
    }
    violations.extend(pair_violations(&written.name, &patch, &guard, vendor_dir));
    Ok(violations.into_iter().map(|violation| violation.rule(&written.name)).collect())
}

#[cfg(test)]
mod tests;
