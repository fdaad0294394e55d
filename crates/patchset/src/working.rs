//! Working on a patch: a plain tree to edit, and the patch file written anew from it. As quilt does, with digests.
//!
//! Nothing here decides by itself: [`Vendored::refresh`] and [`Vendored::bump`] say what they would write and what stands
//! against it, and write nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::guard::Guard;
use super::manifest::SourceManifest;
use super::patch::{HEADER_KEYS, Patch};
use super::series::{Edit, OnTree, Rewritten, Standing, Texts, rewrite};
use super::{Input, Vendored, diff, digest_of};
use diag::Diagnostic;

/// Our folder in the tree; everything else in it is source.
const NOTES: &str = ".muslin";

/// What a working tree was made for.
#[derive(Debug, Serialize, Deserialize)]
struct Session {
    library: String,
    patch: String,
    is_new: bool,
    /// Of the source and the patches below this one: a tree that was made of others gives a wrong diff.
    base: String,
}

/// A tree that is ready to be edited.
#[derive(Debug)]
pub struct Opened {
    pub patch: String,
    /// Files that the patch changes.
    pub files: Vec<String>,
    /// Hunks that have no place in this tree, for a person to bring in.
    pub rejected: Option<PathBuf>,
    /// Where header and guard of a new patch are written.
    pub templates: Option<PathBuf>,
}

/// What is to be written, and what stands against it.
#[derive(Debug)]
pub struct Proposal<'a> {
    /// The patch that was worked on, or the new version.
    pub name: String,
    /// Files that the patch changes now.
    pub files: Vec<String>,
    /// The other patches on top of it.
    pub later: Vec<OnTree<'a>>,
    /// Each names its patch. Of later patches they can be left for later.
    pub violations: Vec<String>,
    pub later_violations: Vec<String>,
    /// Files and what they are to hold; those that hold it already are left out.
    pub writes: Vec<(PathBuf, Vec<u8>)>,
}

/// Which patch to work on.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    Patch(&'a str),
    /// A name for one that does not exist yet; it comes last.
    New(&'a str),
}

impl Vendored {
    /// Makes a tree with all patches up to and including the target.
    pub fn open(&self, input: Input<'_>, target: Target<'_>, tree: &Path) -> Result<Opened> {
        if tree.exists() {
            return Err(Diagnostic::new(&crate::GENERAL, format!("`{}` is there already", tree.display()))
                .hint("`vendor diff` shows what was edited in it; `vendor edit --discard` throws it away")
                .into());
        }
        let (index, name) = self.place_of(target)?;
        let parent = tree.parent().context("a tree without a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("making folder `{}`", parent.display()))?;
        let staging = tempfile::Builder::new().prefix(".preparing-").tempdir_in(parent)?;
        let pristine = self.pristine(input, staging.path())?;
        let mut texts = Texts::of(pristine.clone());
        self.lay_below(index, &mut texts)?;
        let notes = pristine.join(NOTES);
        fs::create_dir(&notes)?;
        let mut opened = Opened { patch: name.clone(), files: Vec::new(), rejected: None, templates: None };
        let is_new = index == self.patches.len();
        if is_new {
            fs::write(notes.join("header"), header_template(&name, &self.manifest.version))?;
            fs::write(notes.join("guard.toml"), guard_template(&name))?;
            opened.templates = Some(tree.join(NOTES));
        } else {
            let on_tree = self.lay(index, &mut texts)?;
            let rejected: String = on_tree
                .files
                .iter()
                .zip(&self.patches[index].0.files)
                .map(|(file, diff)| match &file.fit {
                    Some(fit) => diff.rejected(fit),
                    None => format!("{}: is not in this tree\n", diff.path),
                })
                .collect();
            opened.files = on_tree.files.iter().map(|file| file.path.clone()).collect();
            if !rejected.is_empty() {
                fs::write(notes.join("rejected"), rejected)?;
                opened.rejected = Some(tree.join(NOTES).join("rejected"));
            }
        }
        for (path, text) in texts.changed() {
            fs::write(pristine.join(path), text).with_context(|| format!("writing `{path}`"))?;
        }
        let session =
            Session { library: self.manifest.name.clone(), patch: name, is_new, base: self.base_of(index) };
        fs::write(notes.join("session.json"), serde_json::to_string_pretty(&session)?)?;
        fs::rename(&pristine, tree).with_context(|| format!("naming `{}`", tree.display()))?;
        Ok(opened)
    }

    /// The patch of an edited tree as it has to be written, with all patches above it.
    pub fn refresh(&self, input: Input<'_>, vendor_dir: &Path, tree: &Path) -> Result<Proposal<'_>> {
        let session = self.session(tree)?;
        let staging = tempfile::tempdir()?;
        let (index, mut texts) = self.below(&session, input, staging.path())?;
        let mut files = self.edits(tree, &texts)?;
        if files.is_empty() {
            return Err(Diagnostic::new(
                &crate::GENERAL,
                format!("the tree holds nothing of `{}`: it would be empty", session.patch),
            )
            .hint("to do without a patch, remove its file, its guard and its name in source.toml")
            .into());
        }
        let order: Vec<&str> = match self.patches.get(index) {
            Some((patch, _)) => patch.files.iter().map(|diff| diff.path.as_str()).collect(),
            None => Vec::new(),
        };
        files.sort_by_key(|Edit { path, .. }| {
            order.iter().position(|known| known == path).unwrap_or(order.len())
        });

        let (old_patch, old_guard) = match session.is_new {
            true => (read(&tree.join(NOTES).join("header"))?, read(&tree.join(NOTES).join("guard.toml"))?),
            false => patch_and_guard(vendor_dir, &session.patch)?,
        };
        let written = rewrite(&session.patch, &old_patch, &String::from_utf8(old_guard)?, &files)
            .with_context(|| format!("patch `{}`", session.patch))?;
        let violations = self.own_violations(&written, &files, vendor_dir)?;
        for Edit { path, after, .. } in &files {
            texts.set(path, after.clone());
        }
        let files = files.into_iter().map(|edit| edit.path).collect();
        let mut proposal = Proposal { files, violations, ..Proposal::of(&session.patch) };
        proposal.add(vendor_dir, written)?;
        self.lay_later(index + 1, &mut texts, vendor_dir, &mut proposal)?;
        if session.is_new {
            let path = vendor_dir.join("source.toml");
            let text = with_patch(&fs::read_to_string(&path)?, &session.patch)?;
            proposal.writes.push((path, text.into_bytes()));
        }
        Ok(proposal)
    }

    /// What a refresh would add to the patch of an edited tree.
    pub fn edited(&self, input: Input<'_>, tree: &Path) -> Result<Vec<u8>> {
        let session = self.session(tree)?;
        let staging = tempfile::tempdir()?;
        let (index, mut texts) = self.below(&session, input, staging.path())?;
        if !session.is_new {
            self.lay(index, &mut texts)?;
        }
        let edits = self.edits(tree, &texts)?;
        Ok(edits
            .iter()
            .flat_map(|Edit { path, before, after }| diff::unified(path, before, after, 3))
            .collect())
    }

    /// What one patch changes, with as many lines around it as asked for.
    pub fn shown(&self, input: Input<'_>, name: &str, context: usize) -> Result<Vec<u8>> {
        let index = self.index_of(name)?;
        let staging = tempfile::tempdir()?;
        let mut texts = Texts::of(self.verified(input, staging.path())?);
        self.lay_below(index, &mut texts)?;
        let on_tree = self.lay(index, &mut texts)?;
        let files = on_tree.files.iter().filter_map(|file| Some((file, file.fit.as_ref()?)));
        Ok(files
            .flat_map(|(file, fit)| diff::unified(&file.path, &file.before, &fit.after, context))
            .collect())
    }

    /// Patches from `first` on, each as it has to be written for the texts; appends to the proposal.
    pub(super) fn lay_later<'a>(
        &'a self,
        first: usize,
        texts: &mut Texts,
        vendor_dir: &Path,
        proposal: &mut Proposal<'a>,
    ) -> Result<()> {
        for index in first..self.patches.len() {
            let on_tree = self.lay(index, texts)?;
            let name = &on_tree.patch.name;
            let standing = on_tree.standing();
            if standing >= Standing::Applied {
                proposal.later_violations.push(format!("patch `{name}`: {}", super::series::told(&on_tree)));
            } else if standing > Standing::Holds {
                proposal
                    .later_violations
                    .extend(on_tree.anchor_violations().map(|text| format!("patch `{name}`: {text}")));
                let (patch, guard) = patch_and_guard(vendor_dir, name)?;
                let files: Vec<_> = on_tree
                    .files
                    .iter()
                    .filter_map(|file| {
                        let after = file.fit.as_ref()?.after.clone();
                        Some(Edit { path: file.path.clone(), before: file.before.clone(), after })
                    })
                    .collect();
                let written = rewrite(name, &patch, &String::from_utf8(guard)?, &files)
                    .with_context(|| format!("patch `{name}`"))?;
                proposal.add(vendor_dir, written)?;
            }
            proposal.later.push(on_tree);
        }
        Ok(())
    }

    fn place_of(&self, target: Target<'_>) -> Result<(usize, String)> {
        let name = match target {
            Target::Patch(name) => {
                let index = self.index_of(name)?;
                return Ok((index, self.patches[index].1.name.clone()));
            }
            Target::New(name) => name.trim_end_matches(".patch"),
        };
        let number = name.split_once('-').map_or("", |(number, _)| number);
        let last = self.patches().last().map_or("", |patch| patch.name.as_str());
        ensure!(
            number.len() == 4 && number.bytes().all(|b| b.is_ascii_digit()) && name > last,
            "`{name}` cannot be the name of a new patch\nhint: four digits, greater than those of `{last}`, and why: \
             `0042-why-it-is-there`"
        );
        Ok((self.patches.len(), name.to_owned()))
    }

    fn session(&self, tree: &Path) -> Result<Session> {
        let path = tree.join(NOTES).join("session.json");
        let text = fs::read_to_string(&path).map_err(|error| {
            Diagnostic::new(
                &crate::GENERAL,
                format!("`{}` is not a tree that `vendor edit` made: {error}", tree.display()),
            )
            .hint(format!("cargo xtask vendor edit {} PATCH", self.manifest.name))
        })?;
        let session: Session =
            serde_json::from_str(&text).with_context(|| format!("in `{}`", path.display()))?;
        ensure!(
            session.library == self.manifest.name,
            "`{}` is a tree of {}, not of {}",
            tree.display(),
            session.library,
            self.manifest.name
        );
        Ok(session)
    }

    fn base_of(&self, index: usize) -> String {
        digest_of(&self.list, &self.patches[..index])
    }

    /// The state below the patch of a session, which must be the one that the tree was made of.
    fn below(&self, session: &Session, input: Input<'_>, staging: &Path) -> Result<(usize, Texts)> {
        let target = if session.is_new { Target::New(&session.patch) } else { Target::Patch(&session.patch) };
        let (index, _) = self.place_of(target)?;
        if self.base_of(index) != session.base {
            return Err(Diagnostic::new(&crate::GENERAL, format!("what `{}` is based on has changed since its tree was made", session.patch))
                .expected("the source and the patches below it as they were")
                .found("others")
                .hint("keep `vendor diff`'s output, make the tree again with `vendor edit --discard`, and bring the edits in")
                .into());
        }
        let mut texts = Texts::of(self.verified(input, staging)?);
        self.lay_below(index, &mut texts)?;
        Ok((index, texts))
    }

    fn lay_below(&self, index: usize, texts: &mut Texts) -> Result<()> {
        for below in 0..index {
            let on_tree = self.lay(below, texts)?;
            if on_tree.standing() != Standing::Holds {
                return Err(Diagnostic::new(
                    &crate::GENERAL,
                    format!("patch `{}` below it does not hold", on_tree.patch.name),
                )
                .found(super::series::told(&on_tree))
                .hint(format!(
                    "work on it first: cargo xtask vendor edit {} {}",
                    self.manifest.name, on_tree.patch.name
                ))
                .into());
            }
        }
        Ok(())
    }

    /// Files of the tree that differ, with both texts.
    fn edits(&self, tree: &Path, texts: &Texts) -> Result<Vec<Edit>> {
        let listed: BTreeSet<&str> = self.list.files().iter().map(|file| file.path.as_str()).collect();
        let mut strangers: Vec<String> = Vec::new();
        for path in store::files_below(tree)? {
            let name = path.strip_prefix(tree)?.to_string_lossy().into_owned();
            if !name.starts_with(NOTES) && !listed.contains(name.as_str()) {
                strangers.push(format!("`{name}`: is not of the source"));
            }
        }
        let mut edits = Vec::new();
        for path in listed {
            let before = texts.read(path)?.with_context(|| format!("`{path}` is not in the source"))?;
            match fs::read(tree.join(path)) {
                Ok(after) if after == before => {}
                Ok(after) => edits.push(Edit { path: path.to_owned(), before, after }),
                Err(error) => strangers.push(format!("`{path}`: {error}")),
            }
        }
        if !strangers.is_empty() {
            return Err(Diagnostic::new(&crate::GENERAL, format!("`{}` holds other files than the source", tree.display()))
                .expected("the files of the source, changed in place")
                .found(strangers.join("\n"))
                .hint("a patch neither adds nor removes files: remove what editors and builds left, bring back what is gone")
                .into());
        }
        Ok(edits)
    }

    fn own_violations(&self, written: &Rewritten, files: &[Edit], vendor_dir: &Path) -> Result<Vec<String>> {
        let guard = Guard::parse(&written.guard)?;
        let mut violations = Vec::new();
        for Edit { path, before, after } in files {
            let guarded =
                guard.files.iter().find(|file| file.path == *path).context("a file without its guard")?;
            violations.extend(guarded.before_violations(before));
            violations.extend(guarded.after_violations(after));
        }
        if !vendor_dir.join("tests").join(format!("{}.c", guard.test)).is_file() {
            violations.push(format!(
                "its guard names the test `{}`, but there is no tests/{}.c [behaviour]",
                guard.test, guard.test
            ));
        }
        let named = Patch::parse(&written.patch)?.header_value("Guards").unwrap_or_default().to_owned();
        if named != format!("{}.guard.toml", written.name) {
            violations.push(format!(
                "expected `Guards: {}.guard.toml`, found `Guards: {named}` [header]",
                written.name
            ));
        }
        Ok(violations)
    }
}

impl Proposal<'_> {
    /// Nothing yet, under the name of a patch or of a version.
    pub(super) fn of(name: &str) -> Self {
        Self {
            name: name.into(),
            files: Vec::new(),
            later: Vec::new(),
            violations: Vec::new(),
            later_violations: Vec::new(),
            writes: Vec::new(),
        }
    }

    /// Writes what was proposed; each file appears whole or not at all.
    pub fn write(&self) -> Result<()> {
        self.writes.iter().try_for_each(|(path, text)| store::atomic_write::bytes(path, 0o644, text))
    }

    fn add(&mut self, vendor_dir: &Path, written: Rewritten) -> Result<()> {
        let patches = vendor_dir.join("patches");
        for (ending, text) in [("patch", written.patch), ("guard.toml", written.guard.into_bytes())] {
            let path = patches.join(format!("{}.{ending}", written.name));
            if fs::read(&path).ok().as_ref() != Some(&text) {
                self.writes.push((path, text));
            }
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading `{}`", path.display()))
}

fn patch_and_guard(vendor_dir: &Path, name: &str) -> Result<(Vec<u8>, Vec<u8>)> {
    let folder = vendor_dir.join("patches");
    Ok((read(&folder.join(format!("{name}.patch")))?, read(&folder.join(format!("{name}.guard.toml")))?))
}

fn header_template(name: &str, version: &str) -> String {
    HEADER_KEYS.iter().fold(String::new(), |text, (key, _)| {
        let value = match *key {
            "Since" => version.to_owned(),
            "Guards" => format!("{name}.guard.toml"),
            "Upstream" => "not sent yet".to_owned(),
            _ => String::new(),
        };
        text + format!("{key}: {value}").trim_end() + "\n"
    }) + "\n"
}

fn guard_template(name: &str) -> String {
    format!(
        "# Checked before and after {name}.patch is applied, then in the archive that came of it.\n\
         # The program tests/NAME.c, which fails without the patch.\n\
         test = \"\"\n\n\
         # What the compiled archive must show. `references`: symbols that the function must use; `only_here`: those of them\n\
         # that nothing else in the member may use; `never`: what it must not use. `vendor refresh` adds a [[file]] for each\n\
         # file that is changed.\n\
         [[object]]\nmember = \"\"\nfunction = \"\"\nreferences = []\n"
    )
}

/// `source.toml` with one more name at the end of `patches`.
pub(super) fn with_patch(text: &str, name: &str) -> Result<String> {
    let line = format!("  \"{name}\",\n");
    let added = match text.find("\npatches = [") {
        None => text.replacen("\nfiles = ", &format!("\npatches = [\n{line}]\nfiles = "), 1),
        Some(start) => {
            let end = start + text[start..].find(']').context("`patches` in source.toml has no end")?;
            let (head, tail) = text.split_at(end);
            let head = head.trim_end();
            let comma = if head.ends_with('[') || head.ends_with(',') { "" } else { "," };
            format!("{head}{comma}\n{line}{tail}")
        }
    };
    let named = SourceManifest::parse(&added)?.patches;
    ensure!(
        named.last().is_some_and(|last| last == name),
        "source.toml: add \"{name}\" to `patches` by hand"
    );
    Ok(added)
}

#[cfg(test)]
mod tests;
