//! A vendor folder, read and checked: it decides the content of a prepared tree before anything is fetched.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use diag::{Diagnostic, Diagnostics};
use serde::Serialize;
use store::sha256_hex;

use crate::build::Build;
use crate::codes::{PATCH_BEHAVIOUR, PATCH_GUARD, PATCH_HEADER, PATCH_NAME, PATCH_SERIES};
use crate::file_list::{FileList, ListedFile};
use crate::guard::Guard;
use crate::manifest::SourceManifest;
use crate::patch::{FileDiff, Patch};
use crate::toml_file;

/// A vendor folder: source manifest, recipe, list of files, patches with their guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendored {
    /// `source.toml`.
    pub manifest: SourceManifest,
    /// `build.toml`.
    pub build: Build,
    /// Names the prepared tree: a digest of the list of files, then of each patch and its guard, in order.
    pub digest: String,
    pub(crate) list: FileList,
    pub(crate) patches: Vec<(Patch, VendoredPatch)>,
}

/// A patch and its guard, for the fingerprint, the manifest and `--version`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VendoredPatch {
    /// File name without `.patch`: `0002-give-workers-an-explicit-stack`.
    pub name: String,
    /// `Why:` of the header.
    pub why: String,
    /// `Upstream:` of the header.
    pub upstream: String,
    /// `Since:` of the header.
    pub since: String,
    /// Digest of the patch file.
    pub sha256: String,
    /// The patch file, of which `sha256` is the digest.
    #[serde(skip)]
    pub text: Vec<u8>,
    /// Digest of the guard file.
    pub guard_sha256: String,
    /// The behavioural test that fails without the patch.
    pub test: String,
    /// The parsed guard.
    #[serde(skip)]
    pub guard: Guard,
}

impl VendoredPatch {
    /// Whether `text` is the name of the patch or its number: `0002` and `2` name `0002-give-workers-an-explicit-stack`.
    pub fn is_named(&self, text: &str) -> bool {
        let text = text.trim_end_matches(".patch");
        self.name == text || has_number(&self.name, text)
    }
}

fn has_number(name: &str, number: &str) -> bool {
    let parsed = |text: &str| text.parse::<u32>().ok();
    parsed(number).is_some() && parsed(number) == name.split('-').next().and_then(parsed)
}

impl Vendored {
    /// Reads source.toml, build.toml, the list of files, and the patches with their guards. All problems of one patch are
    /// reported together.
    pub fn read(vendor_dir: &Path) -> Result<Self> {
        let manifest = SourceManifest::read(&vendor_dir.join("source.toml"))?;
        let build = Build::read(&vendor_dir.join("build.toml"))?;
        let list = FileList::read(&vendor_dir.join(&manifest.files))?;
        let patches = read_patches(vendor_dir, &manifest)?;
        let digest = digest_of(&list, &patches);
        Ok(Self { manifest, build, digest, list, patches })
    }

    /// The patches, in order.
    pub fn patches(&self) -> impl Iterator<Item = &VendoredPatch> {
        self.patches.iter().map(|(_, patch)| patch)
    }

    /// The files of `files.sha256`.
    pub fn listed_files(&self) -> &[ListedFile] {
        self.list.files()
    }

    /// Digest of the list of source files: of the library without its patches.
    pub fn source_digest(&self) -> String {
        sha256_hex(self.list.to_text().as_bytes())
    }

    /// Numbers of lines that a patch adds and removes.
    pub fn counts(&self, name: &str) -> (usize, usize) {
        let diffs =
            self.patches.iter().filter(|(_, patch)| patch.name == name).flat_map(|(patch, _)| &patch.files);
        diffs.map(FileDiff::counts).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Violated requirements of the guards in a compiled archive; the rule of each is its patch. Needs no tree, so an archive
    /// from a cache is checked too.
    pub fn archive_violations(&self, archive: &[u8]) -> Result<Vec<Diagnostic>> {
        let mut violations = Vec::new();
        for patch in self.patches() {
            let found = patch.guard.object_violations(archive)?;
            violations.extend(found.into_iter().map(|violation| violation.rule(&patch.name)));
        }
        Ok(violations)
    }

    /// The place in the series of a patch, by its name or number.
    pub(crate) fn index_of(&self, name: &str) -> Result<usize> {
        let index = self.patches().position(|patch| patch.is_named(name));
        index.ok_or_else(|| {
            let names: Vec<&str> = self.patches().map(|patch| patch.name.as_str()).collect();
            Diagnostic::new(&PATCH_NAME, format!("{} has no patch `{name}`", self.manifest.name))
                .expected(names.join("\n"))
                .hint("write a name or its number")
                .into()
        })
    }

    /// Digest of the state below the patch at `index`.
    pub(crate) fn base_digest(&self, index: usize) -> String {
        digest_of(&self.list, &self.patches[..index])
    }
}

fn digest_of(list: &FileList, patches: &[(Patch, VendoredPatch)]) -> String {
    let mut text = list.to_text();
    for (_, patch) in patches {
        let VendoredPatch { name, sha256, guard_sha256, .. } = patch;
        text.push_str(&format!("{sha256}  {name}.patch\n{guard_sha256}  {name}.guard.toml\n"));
    }
    sha256_hex(text.as_bytes())
}

/// All patches in the order of their names. An unknown file is an error: it could be a patch that is not applied, or a guard
/// that guards nothing.
fn read_patches(vendor_dir: &Path, manifest: &SourceManifest) -> Result<Vec<(Patch, VendoredPatch)>> {
    let folder = vendor_dir.join("patches");
    // The folder of an unpatched library may be missing; its patches may not.
    let mut names: Vec<String> = Vec::new();
    if folder.exists() {
        for entry in
            fs::read_dir(&folder).with_context(|| format!("reading folder `{}`", folder.display()))?
        {
            let entry = entry.with_context(|| format!("reading folder `{}`", folder.display()))?;
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    names.sort();
    let mut problems = Diagnostics::default();
    for name in &names {
        let partner = match (name.strip_suffix(".patch"), name.strip_suffix(".guard.toml")) {
            (Some(stem), _) => format!("{stem}.guard.toml"),
            (None, Some(stem)) => format!("{stem}.patch"),
            (None, None) => {
                problems.push(
                    Diagnostic::new(&PATCH_SERIES, "a file is neither a patch nor a guard")
                        .file(folder.join(name)),
                );
                continue;
            }
        };
        if !names.contains(&partner) {
            problems.push(
                Diagnostic::new(&PATCH_SERIES, "a patch has no guard, or a guard has no patch")
                    .file(folder.join(name))
                    .expected(format!("`{partner}` beside it")),
            );
        }
    }
    let found: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".patch")).collect();
    if found != manifest.patches {
        let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join("\n") };
        let expected: Vec<&str> = manifest.patches.iter().map(String::as_str).collect();
        problems.push(
            Diagnostic::new(
                &PATCH_SERIES,
                format!("the patches of {} are not those of `patches` in source.toml", manifest.name),
            )
            .file(&folder)
            .expected(list(&expected))
            .found(list(&found))
            .hint(
                "a missing patch: `git log --stat -- VENDOR-FOLDER/patches` shows the commit that removed it; \
                 a new one: add its name to `patches` in source.toml",
            ),
        );
    }
    problems.into_result()?;
    found.into_iter().map(|stem| read_patch(vendor_dir, &folder, stem)).collect()
}

fn read_patch(vendor_dir: &Path, folder: &Path, stem: &str) -> Result<(Patch, VendoredPatch)> {
    let path = folder.join(format!("{stem}.patch"));
    let bytes = fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
    let guard_path = folder.join(format!("{stem}.guard.toml"));
    let guard_bytes = fs::read(&guard_path).with_context(|| format!("reading `{}`", guard_path.display()))?;
    let parsed = Patch::parse(&bytes).map_err(|problems| toml_file::in_file(&path, problems));
    let (patch, guard) = match (parsed, Guard::read(&guard_path)) {
        (Ok(patch), Ok(guard)) => (patch, guard),
        (patch, guard) => {
            let problems = patch.err().into_iter().chain(guard.err()).flat_map(|problems| problems.0);
            return Err(problems.collect::<Diagnostics>().into());
        }
    };
    let mut problems = Diagnostics::default();
    problems.extend(pair_violations(stem, &patch, &guard, vendor_dir).into_iter().map(|problem| {
        let path = if *problem.code() == PATCH_HEADER { &path } else { &guard_path };
        problem.file(path)
    }));
    problems.into_result()?;
    let value = |key: &str| patch.header_value(key).unwrap_or_default().to_owned();
    let vendored = VendoredPatch {
        name: stem.to_owned(),
        why: value("Why"),
        upstream: value("Upstream"),
        since: value("Since"),
        sha256: sha256_hex(&bytes),
        text: bytes,
        guard_sha256: sha256_hex(&guard_bytes),
        test: guard.test.clone(),
        guard,
    };
    Ok((patch, vendored))
}

/// Violations of a patch and its guard as a pair: the same files, an existing test, the header names the guard.
pub(crate) fn pair_violations(
    stem: &str,
    patch: &Patch,
    guard: &Guard,
    vendor_dir: &Path,
) -> Vec<Diagnostic> {
    let mut violations = Vec::new();
    let test = vendor_dir.join("tests").join(format!("{}.c", guard.test));
    if !test.is_file() {
        violations.push(
            Diagnostic::new(&PATCH_BEHAVIOUR, "the behavioural test of a guard does not exist")
                .expected(format!("tests/{}.c", guard.test)),
        );
    }
    let mut patched: Vec<&str> = patch.files.iter().map(|file| file.path.as_str()).collect();
    let mut guarded: Vec<&str> = guard.files.iter().map(|file| file.path.as_str()).collect();
    patched.sort_unstable();
    guarded.sort_unstable();
    if patched != guarded {
        violations.push(
            Diagnostic::new(&PATCH_GUARD, format!("`{stem}` changes other files than its guard lists"))
                .expected(patched.join("\n"))
                .found(guarded.join("\n")),
        );
    }
    let (expected, found) = (format!("{stem}.guard.toml"), patch.header_value("Guards").unwrap_or_default());
    if found != expected {
        violations.push(
            Diagnostic::new(&PATCH_HEADER, "the header names another guard")
                .expected(format!("Guards: {expected}"))
                .found(format!("Guards: {found}")),
        );
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_names_a_patch() {
        assert!(has_number("0002-x", "0002") && has_number("0002-x", "2"));
        assert!(!has_number("0002-x", "") && !has_number("0002-x", "x") && !has_number("0002-x", "20"));
    }

    /// Without the real source: the files parse, pair up and name existing tests, and the digests form a chain: the state
    /// after one patch is the state before the next one on that file.
    #[test]
    fn the_digests_of_the_real_patches_form_a_chain() {
        let vendor_dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vendor/openblas");
        let vendored = Vendored::read(&vendor_dir).unwrap();
        assert!(vendored.patches().count() >= 3);
        let mut digests: std::collections::BTreeMap<&str, &str> =
            vendored.list.files().iter().map(|file| (file.path.as_str(), file.sha256.as_str())).collect();
        for patch in vendored.patches() {
            for file in &patch.guard.files {
                let expected = digests.insert(&file.path, &file.post_sha256);
                assert_eq!(expected, Some(file.pre_sha256.as_str()), "{}: {}", patch.name, file.path);
            }
        }
    }
}
