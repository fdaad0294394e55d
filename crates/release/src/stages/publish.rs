//! Stage `publish`: the files under their final names, their digests, and the manifest with everything that was shown.
//!
//! The previous set stays until the new one is complete on the same disk. The manifest is renamed last, so a reader that
//! finds it finds everything that it names.

mod bill;
mod manifest;

use std::path::Path;

use anyhow::Context;
use diag::{Diagnostic, Diagnostics};
use serde::Serialize;
use store::{Digest, atomic_write, cannot_write, lock_folder};

pub use self::manifest::{GateRecord, Manifest};
use crate::artifact::Artifact;
use crate::codes::{IMAGE_MISMATCH, PUBLISH_MISMATCH};
use crate::context::BuildContext;
use crate::gate;
use crate::plan::{Names, Plan};
use crate::stage::StageId;
use crate::stages::image::{self, Image, ImageFacts};

/// What was published.
///
/// ```compile_fail,E0451
/// use release::stages::{image::ImageFacts, publish::{Manifest, Release}};
/// fn forge(image: ImageFacts, manifest: Manifest) -> Release {
///     Release { files: Vec::new(), image, manifest }
/// }
/// ```
#[derive(Debug)]
pub struct Release {
    files: Vec<NamedFile>,
    image: ImageFacts,
    manifest: Manifest,
}

impl Release {
    /// Every file in `dist/` except the list of digests.
    pub fn files(&self) -> &[NamedFile] {
        &self.files
    }

    /// Names and digests of the image.
    pub fn image(&self) -> &ImageFacts {
        &self.image
    }

    /// `dist-manifest.json`.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}

/// A file in `dist/`.
#[derive(Debug, Clone, Serialize)]
pub struct NamedFile {
    /// Its name.
    pub name: String,
    /// Digest of its bytes.
    pub sha256: Digest,
    /// Its size.
    pub size_bytes: u64,
}

impl NamedFile {
    /// Reads the file that was written.
    fn of(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let path = folder.join(name);
        let size_bytes = path.metadata().with_context(|| format!("reading {}", path.display()))?.len();
        Ok(Self { name: name.into(), sha256: Digest::of_file(&path)?, size_bytes })
    }
}

/// Writes everything beside its final place, compares it with what was proved, and renames it.
pub fn publish(plan: &Plan, context: &BuildContext, image: Image) -> anyhow::Result<Release> {
    require_proved_image(plan, &image)?;
    let dist = &plan.paths.dist;
    std::fs::create_dir_all(dist).map_err(|error| cannot_write(dist, error))?;
    // Two checkouts may use the same folder.
    let _lock = lock_folder(dist, &context.runner)?;
    remove_staging(dist);
    let staging = tempfile::Builder::new()
        .prefix(".staging-")
        .tempdir_in(dist)
        .map_err(|error| cannot_write(dist, error))?;
    let names = &plan.names;
    let at = |name: &str| staging.path().join(name);
    let packed = image.proved().tested().packed();
    let stripped = packed.stripped();

    atomic_write::copy(packed.file().path(), &at(&names.packed))?;
    atomic_write::copy(stripped.file().path(), &at(&names.unpacked))?;
    atomic_write::copy(stripped.debug().path(), &at(&names.debug))?;
    atomic_write::write(&at(&names.docker_tar), 0o644, |file| image.image().write_docker_tar(file))?;
    atomic_write::write(&at(&names.oci_tar), 0o644, |file| image.image().write_oci_tar(file))?;

    atomic_write::bytes(&at(&names.policy), 0o644, policy_text(plan)?.as_bytes())?;

    let bill = bill::of_release(plan, &image)?;
    atomic_write::bytes(&at(&names.cyclonedx), 0o644, bill.to_cyclonedx()?.as_bytes())?;
    atomic_write::bytes(&at(&names.spdx), 0o644, bill.to_spdx()?.as_bytes())?;

    // Read from disk again: the digests are of the bytes that were written.
    let written = [
        &names.debug,
        &names.unpacked,
        &names.packed,
        &names.docker_tar,
        &names.oci_tar,
        &names.policy,
        &names.cyclonedx,
        &names.spdx,
    ];
    let mut files = context
        .jobs
        .map(written.len(), |index| NamedFile::of(staging.path(), written[index]))
        .into_iter()
        .collect::<anyhow::Result<Vec<_>>>()?;
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let proved = [
        (&names.packed, packed.file()),
        (&names.unpacked, stripped.file()),
        (&names.debug, stripped.debug()),
    ];
    require_proved_files(&files, &proved.map(|(name, file)| (name.as_str(), file)))?;

    let manifest = Manifest::new(plan, &image, files.clone());
    let mut text = serde_json::to_string_pretty(&manifest)?;
    text.push('\n');
    atomic_write::bytes(&at(&names.manifest), 0o644, text.as_bytes())?;
    files.push(NamedFile::of(staging.path(), &names.manifest)?);
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let sums: String = files.iter().map(|file| format!("{}  {}\n", file.sha256, file.name)).collect();
    atomic_write::bytes(&at(&names.sums), 0o644, sums.as_bytes())?;

    rename_into_place(dist, staging.path(), &files, names)?;
    Ok(Release { files, image: image.facts().clone(), manifest })
}

/// The policy that the files were judged by, with which they can be judged again without the checkout.
fn policy_text(plan: &Plan) -> anyhow::Result<String> {
    let product = &plan.config.product.name;
    let comment = format!(
        "The policy of {product} {} for {}, by which its files were judged.\n\
         `elf-gate FOLDER` uses this file for the files beside it.",
        plan.version, plan.target
    );
    Ok(gate::published_policy(plan).to_text(&comment)?)
}

/// The image carries the digest of its bytes; it must be that of the proved file.
fn require_proved_image(plan: &Plan, image: &Image) -> anyhow::Result<()> {
    let proved = image::binary(plan, image.proved());
    let found = &image.facts().binary_sha256;
    if found == proved.sha256() {
        return Ok(());
    }
    Err(Diagnostic::new(&IMAGE_MISMATCH, "the image holds other bytes than those that were proved")
        .file(proved.path())
        .stage(StageId::Publish.name())
        .expected(format!("sha256 {}", proved.sha256()))
        .found(format!("sha256 {found}"))
        .into())
}

/// Each written file must have the digest of the proved one. All differences are reported together.
fn require_proved_files(written: &[NamedFile], proved: &[(&str, &Artifact)]) -> anyhow::Result<()> {
    proved
        .iter()
        .filter_map(|(name, proved)| {
            let found = written.iter().find(|file| file.name == *name).map(|file| file.sha256.as_str());
            if found == Some(proved.sha256().as_str()) {
                return None;
            }
            Some(
                Diagnostic::new(&PUBLISH_MISMATCH, format!("{name} is not the file that was proved"))
                    .file(proved.path())
                    .stage(StageId::Publish.name())
                    .expected(format!("sha256 {}", proved.sha256()))
                    .found(found.map_or_else(|| "no file".into(), |sha256| format!("sha256 {sha256}"))),
            )
        })
        .collect::<Diagnostics>()
        .into_result()
}

/// From here on there are only renames. The old manifest is removed first and the new one comes last, so a manifest never
/// stands beside files of another release.
fn rename_into_place(dist: &Path, staging: &Path, files: &[NamedFile], names: &Names) -> anyhow::Result<()> {
    match std::fs::remove_file(dist.join(&names.manifest)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context("removing the previous manifest");
        }
        _ => {}
    }
    let order = files
        .iter()
        .map(|file| &file.name)
        .filter(|name| **name != names.manifest)
        .chain([&names.sums, &names.manifest]);
    for name in order {
        std::fs::rename(staging.join(name), dist.join(name))
            .with_context(|| format!("renaming {name} into {}", dist.display()))?;
    }
    Ok(())
}

/// Removes staging folders of killed runs. The lock of the folder is held, so no other run uses them.
fn remove_staging(dist: &Path) {
    for entry in std::fs::read_dir(dist).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(".staging-") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
