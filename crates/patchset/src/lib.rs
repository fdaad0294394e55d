//! Vendored native sources: from whatever tree or tarball is at hand to a tree that is verified, patched and guarded.
//!
//! [`Vendored`] is what a vendor folder says, [`Vendored::prepare`] the order in which it happens, and the only door. It uses no network and reads neither environment nor
//! clock: fetching is done before, compiling after. Its result is named by a digest of everything in it, and appears
//! under its final name only when all of it holds. After the compile, [`Vendored::archive_violations`] asks the archive
//! whether the patches are in the code, and [`kernels`] whether the kernels are.

pub mod archive_facts;
pub mod behaviour;
pub mod build;
pub mod bump;
pub mod checks;
pub mod diff;
pub mod guard;
pub mod kernels;
pub mod liveness;
pub mod manifest;
pub mod patch;
pub mod series;
pub mod unpack;
pub mod working;

/// Archives for tests, also of crates that use this one.
#[cfg(any(test, feature = "fixtures"))]
pub mod archive_fixture;

diag::codes! {
    /// To be split into one code for each check.
    pub GENERAL = Violation "vendored-source": "a vendored source does not match its vendor folder" {
        "fix": "read the message; docs/vendored.md explains each check",
    }
}

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;

use self::build::Build;
use self::guard::{Guard, GuardedFile};
use self::manifest::{FileList, SourceManifest};
use self::patch::{FileDiff, Patch};
use diag::Diagnostic;
use store::sha256_hex;

/// A vendor folder, read and checked: all that decides what a prepared tree holds, known before anything is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendored {
    pub manifest: SourceManifest,
    pub build: Build,
    /// Names the tree that [`Vendored::prepare`] makes: the list of source digests, then each patch and its guard, in order.
    pub digest: String,
    list: FileList,
    patches: Vec<(Patch, VendoredPatch)>,
}

/// A source tree that is ready to be compiled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Prepared {
    pub name: String,
    pub version: String,
    #[serde(skip)]
    pub tree: PathBuf,
    /// That of the [`Vendored`] that it was made from.
    pub digest: String,
    pub patches: Vec<VendoredPatch>,
    /// What each patch did, in order: [`liveness`] compiles the states before and after it.
    #[serde(skip)]
    pub steps: Vec<Step>,
}

/// One patch and the files that it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub patch: VendoredPatch,
    pub files: Vec<ChangedFile>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedFile {
    pub path: String,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
    /// Numbers, from 1, of the lines of `after` that the patch added.
    pub added: Vec<usize>,
}

/// A patch and its guard, for the fingerprint, the manifest and `--version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VendoredPatch {
    /// File name without `.patch`: `0002-give-workers-an-explicit-stack`.
    pub name: String,
    pub why: String,
    pub upstream: String,
    pub since: String,
    pub sha256: String,
    pub guard_sha256: String,
    /// The behavioural test that fails without it.
    pub test: String,
    #[serde(skip)]
    pub guard: Guard,
}

/// What to prepare from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input<'a> {
    Tree(&'a Path),
    Tarball(&'a Path),
}

impl Vendored {
    /// `vendor_dir` holds source.toml, the list of files, patches with their guards, and tests.
    pub fn read(vendor_dir: &Path) -> Result<Self> {
        let manifest = SourceManifest::read(&vendor_dir.join("source.toml"))?;
        let build = Build::read(&vendor_dir.join("build.toml"))?;
        let list = FileList::read(&vendor_dir.join(&manifest.files))?;
        let patches = read_patches(vendor_dir, &manifest)?;
        let digest = digest_of(&list, &patches);
        Ok(Self { manifest, build, digest, list, patches })
    }

    pub fn patches(&self) -> impl Iterator<Item = &VendoredPatch> {
        self.patches.iter().map(|(_, patch)| patch)
    }

    pub fn listed_files(&self) -> &[manifest::ListedFile] {
        self.list.files()
    }

    /// Lines that a patch adds and removes.
    pub fn counts(&self, name: &str) -> (usize, usize) {
        let diffs =
            self.patches.iter().filter(|(_, patch)| patch.name == name).flat_map(|(patch, _)| &patch.files);
        diffs.map(FileDiff::counts).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// What the compiled archive does not show of the patches, each named by its patch. Needs no tree, so an archive that
    /// comes from a cache is asked as well.
    pub fn archive_violations(&self, archive: &[u8]) -> Result<Vec<String>> {
        let mut violations = Vec::new();
        for patch in self.patches() {
            for violation in patch.guard.object_violations(archive)? {
                violations.push(format!("{}: {violation}", patch.name));
            }
        }
        Ok(violations)
    }

    /// Unpacks, verifies, patches and guards. `dest` must not exist yet, and exists afterwards only if everything held.
    pub fn prepare(&self, input: Input<'_>, dest: &Path) -> Result<Prepared> {
        ensure!(
            !dest.exists(),
            "`{}` is there already: a prepared tree is never continued\nhint: remove it, or prepare elsewhere",
            dest.display()
        );
        let parent = dest.parent().with_context(|| format!("`{}` has no parent folder", dest.display()))?;
        fs::create_dir_all(parent).with_context(|| format!("making folder `{}`", parent.display()))?;
        let staging = tempfile::Builder::new()
            .prefix(".preparing-")
            .tempdir_in(parent)
            .with_context(|| format!("making a staging folder in `{}`", parent.display()))?;

        let tree = self.pristine(input, staging.path())?;
        let steps = self
            .patches
            .iter()
            .map(|(patch, vendored)| apply(patch, vendored, &tree))
            .collect::<Result<Vec<Step>>>()?;
        fs::rename(&tree, dest)
            .with_context(|| format!("moving the prepared tree to `{}`", dest.display()))?;
        Ok(Prepared {
            name: self.manifest.name.clone(),
            version: self.manifest.version.clone(),
            tree: dest.to_owned(),
            digest: self.digest.clone(),
            patches: self.patches().cloned().collect(),
            steps,
        })
    }
}

impl Vendored {
    /// Where the listed files are, verified and not patched, for those who only read them: no copy of a tree is made.
    pub fn verified(&self, input: Input<'_>, staging: &Path) -> Result<PathBuf> {
        let source = input.unpacked(staging)?;
        manifest::verify(&source, &self.list).with_context(|| format!("from {input}"))?;
        Ok(source)
    }

    /// The listed files, verified and not patched, in a new folder below `staging`.
    pub fn pristine(&self, input: Input<'_>, staging: &Path) -> Result<PathBuf> {
        let tree = staging.join("tree");
        fs::create_dir(&tree).with_context(|| format!("making `{}`", tree.display()))?;
        let source = input.unpacked(staging)?;
        manifest::verify_and_copy(&source, &self.list, &tree).with_context(|| format!("from {input}"))?;
        Ok(tree)
    }
}

impl Input<'_> {
    /// The files as they are, not verified: the tree itself, or what the tarball holds, in a new folder below `staging`.
    pub fn unpacked(&self, staging: &Path) -> Result<PathBuf> {
        match self {
            Input::Tree(path) => Ok(path.to_path_buf()),
            Input::Tarball(path) => {
                let unpacked = staging.join("unpacked");
                fs::create_dir(&unpacked).with_context(|| format!("making `{}`", unpacked.display()))?;
                unpack::unpack(path, &unpacked).map_err(|error| damaged(path, error))?;
                Ok(unpacked)
            }
        }
    }
}

impl std::fmt::Display for Input<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Input::Tree(path) | Input::Tarball(path)) = self;
        write!(f, "`{}`", path.display())
    }
}

/// A decompressor's own words ("dist overflow") say nothing to who has a broken download.
fn damaged(tarball: &Path, error: anyhow::Error) -> anyhow::Error {
    let told = format!("{error:#}");
    // Some refusals name their own remedy.
    if told.contains("hint:") {
        return error;
    }
    Diagnostic::new(&crate::GENERAL, format!("`{}` cannot be unpacked", tarball.display()))
        .expected("a whole tarball")
        .found(told)
        .hint("it is damaged or cut off: remove it (in the cache: its whole folder) and run this again")
        .into()
}

/// [`Vendored::read`] and [`Vendored::prepare`] in one.
pub fn prepare(input: Input<'_>, vendor_dir: &Path, dest: &Path) -> Result<Prepared> {
    Vendored::read(vendor_dir)?.prepare(input, dest)
}

/// All patches in the order of their names, each with its guard. A stray file is an error: it would be a patch that nobody
/// applies, or a guard that guards nothing.
fn read_patches(vendor_dir: &Path, manifest: &SourceManifest) -> Result<Vec<(Patch, VendoredPatch)>> {
    let folder = vendor_dir.join("patches");
    let mut names: Vec<String> = Vec::new();
    // A library that is built as it comes has no such folder.
    if !folder.exists() {
        return Ok(Vec::new());
    }
    for entry in fs::read_dir(&folder).with_context(|| format!("reading folder `{}`", folder.display()))? {
        let entry = entry.with_context(|| format!("reading folder `{}`", folder.display()))?;
        names.push(entry.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for name in &names {
        let partner = match (name.strip_suffix(".patch"), name.strip_suffix(".guard.toml")) {
            (Some(stem), _) => format!("{stem}.guard.toml"),
            (None, Some(stem)) => format!("{stem}.patch"),
            (None, None) => {
                bail!("`{}` is neither a patch nor a guard [series]", folder.join(name).display())
            }
        };
        ensure!(
            names.contains(&partner),
            "`{}` stands alone: expected `{partner}` beside it [series]",
            folder.join(name).display()
        );
    }
    let found: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".patch")).collect();
    if found != manifest.patches {
        return Err(Diagnostic::new(
            &crate::GENERAL,
            format!("the patches of {} are not those that source.toml names [series]", manifest.name),
        )
        .expected(manifest.patches.join("\n"))
        .found(found.join("\n"))
        .hint(
            "a patch that is gone: `git log --stat -- VENDOR-FOLDER/patches` shows who dropped it; \
               a new one: add its name to `patches` in source.toml",
        )
        .into());
    }
    names
        .iter()
        .filter_map(|name| name.strip_suffix(".patch"))
        .map(|stem| read_patch(vendor_dir, &folder, stem))
        .collect()
}

fn read_patch(vendor_dir: &Path, folder: &Path, stem: &str) -> Result<(Patch, VendoredPatch)> {
    let path = folder.join(format!("{stem}.patch"));
    let bytes = fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
    let patch = Patch::parse(&bytes).with_context(|| format!("in `{}`", path.display()))?;
    let guard_path = folder.join(format!("{stem}.guard.toml"));
    let guard_bytes = fs::read(&guard_path).with_context(|| format!("reading `{}`", guard_path.display()))?;
    let guard = Guard::read(&guard_path)?;

    let test = vendor_dir.join("tests").join(format!("{}.c", guard.test));
    ensure!(
        test.is_file(),
        "`{}` names test `{}`, but there is no `{}` [behaviour]",
        guard_path.display(),
        guard.test,
        test.display()
    );
    let (mut patched, mut guarded): (Vec<&str>, Vec<&str>) = (
        patch.files.iter().map(|file| file.path.as_str()).collect(),
        guard.files.iter().map(|file| file.path.as_str()).collect(),
    );
    patched.sort_unstable();
    guarded.sort_unstable();
    ensure!(patched == guarded, "`{stem}` changes {patched:?}, its guard knows {guarded:?}");

    let value = |key: &str| patch.header_value(key).unwrap_or_default().to_owned();
    ensure!(
        value("Guards") == format!("{stem}.guard.toml"),
        "`{}`: expected `Guards: {stem}.guard.toml`, found `Guards: {}` [header]",
        path.display(),
        value("Guards")
    );
    let vendored = VendoredPatch {
        name: stem.to_owned(),
        why: value("Why"),
        upstream: value("Upstream"),
        since: value("Since"),
        sha256: sha256_hex(&bytes),
        guard_sha256: sha256_hex(&guard_bytes),
        test: guard.test.clone(),
        guard,
    };
    Ok((patch, vendored))
}

/// Applies one patch to the tree. Everything that its guards find is reported together.
fn apply(patch: &Patch, vendored: &VendoredPatch, tree: &Path) -> Result<Step> {
    let (mut violations, mut files) = (Vec::new(), Vec::new());
    for diff in &patch.files {
        // read_patch saw to it that both name the same files
        let Some(guarded) = vendored.guard.files.iter().find(|file| file.path == diff.path) else { continue };
        let path = tree.join(&diff.path);
        let before = fs::read(&path).with_context(|| {
            format!(
                "patch `{}` changes `{}`, which is not among the listed files [pre-image]",
                vendored.name, diff.path
            )
        })?;
        match patched(diff, guarded, &before) {
            Ok(after) => {
                fs::write(&path, &after).with_context(|| format!("writing `{}`", path.display()))?;
                files.push(ChangedFile { path: diff.path.clone(), before, after, added: diff.added_lines() });
            }
            Err(found) => violations.extend(found),
        }
    }
    ensure!(violations.is_empty(), "patch `{}`:\n  {}", vendored.name, violations.join("\n  "));
    Ok(Step { patch: vendored.clone(), files })
}

/// The text after the patch, or everything that is wrong with it.
fn patched(
    diff: &FileDiff,
    guarded: &GuardedFile,
    before: &[u8],
) -> std::result::Result<Vec<u8>, Vec<String>> {
    let path = &diff.path;
    let found = sha256_hex(before);
    if found == guarded.post_sha256 {
        return Err(vec![format!("`{path}`: {}", patch::Refusal::AlreadyApplied)]);
    }
    let after = diff.apply(before).map_err(|refusal| vec![format!("`{path}`: {refusal}")])?;
    let mut violations = guarded.before_violations(before);
    if found != guarded.pre_sha256 {
        violations.push(format!(
            "`{path}`: expected sha256 {} before the patch, found {found} [pre-image]\n\
             hint: the hunks fit, but the file is not the one that the patch was read against: read the difference, then \
             pin the new digests",
            guarded.pre_sha256
        ));
    }
    violations.extend(guarded.after_violations(&after));
    if violations.is_empty() { Ok(after) } else { Err(violations) }
}

fn digest_of(list: &FileList, patches: &[(Patch, VendoredPatch)]) -> String {
    let mut text = list.to_text();
    for (_, patch) in patches {
        let VendoredPatch { name, sha256, guard_sha256, .. } = patch;
        text.push_str(&format!("{sha256}  {name}.patch\n{guard_sha256}  {name}.guard.toml\n"));
    }
    sha256_hex(text.as_bytes())
}

#[cfg(test)]
mod tests;
