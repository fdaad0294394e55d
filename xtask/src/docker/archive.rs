//! The image archive of a `dist/` folder, and what `dist-manifest.json` states about it.

use std::path::{Path, PathBuf};

use diag::Diagnostic;
use oci_image::LoadableImage;
use serde_json::Value;

use super::codes::{ARCHIVE_MISMATCH, NO_ARCHIVE};

const MANIFEST: &str = "dist-manifest.json";
const SUFFIX: &str = ".docker.tar";
const REBUILD: &str = "cargo xtask dist";

/// An archive that is complete and is the one that the manifest describes.
pub struct DistImage {
    pub path: PathBuf,
    pub archive: LoadableImage,
}

impl DistImage {
    /// Finds the archive of `dist`, verifies its digests, and compares it with the manifest.
    pub fn find(dist: &Path) -> Result<Self, Diagnostic> {
        let manifest = read_manifest(dist)?;
        let path = find_archive(dist, manifest.as_ref())?;
        let archive = LoadableImage::read(&path).map_err(|error| error.hint(REBUILD))?;
        if let Some(manifest) = &manifest {
            compare(&path, &archive, &manifest["image"])?;
        } else {
            eprintln!("warning: {} has no {MANIFEST}; the image is not known to be proved", dist.display());
        }
        Ok(Self { path, archive })
    }

    /// Engines with the classic store identify an image by its config, those with the containerd store by its manifest.
    pub fn is_called(&self, id: &str) -> bool {
        id == self.archive.image_id || id == self.archive.manifest_digest
    }
}

fn read_manifest(dist: &Path) -> Result<Option<Value>, Diagnostic> {
    let path = dist.join(MANIFEST);
    let unreadable = |error: String| {
        Diagnostic::new(&ARCHIVE_MISMATCH, format!("{MANIFEST} cannot be read"))
            .file(&path)
            .found(error)
            .hint(REBUILD)
    };
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// The archive that the manifest lists; without a manifest the only one in the folder.
fn find_archive(dist: &Path, manifest: Option<&Value>) -> Result<PathBuf, Diagnostic> {
    let not_found = |found: String| {
        Diagnostic::new(&NO_ARCHIVE, "cannot select an image archive")
            .file(dist)
            .expected(format!("one *{SUFFIX}"))
            .found(found)
            .hint("`cargo xtask dist` writes it; `--dist` names another folder")
    };
    let names: Vec<String> = match manifest {
        Some(manifest) => manifest["files"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|file| file["name"].as_str().map(String::from))
            .filter(|name| name.ends_with(SUFFIX))
            .collect(),
        None => {
            let entries = std::fs::read_dir(dist).map_err(|error| not_found(error.to_string()))?;
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let mut names: Vec<_> =
                names.filter(|name| name.ends_with(SUFFIX) && !name.starts_with('.')).collect();
            names.sort();
            names
        }
    };
    match names.as_slice() {
        [name] => Ok(dist.join(name)),
        [] => Err(not_found("none".into())),
        _ => Err(not_found(names.join(", "))),
    }
}

/// What was proved, what was hashed and what is about to run must be the same bytes.
fn compare(path: &Path, archive: &LoadableImage, expected: &Value) -> Result<(), Diagnostic> {
    let program = archive.entrypoint.first().and_then(|program| archive.file_digests.get(program));
    let program = program.map(|digest| digest.trim_start_matches("sha256:"));
    for (field, found) in [
        ("reference", Some(archive.reference.as_str())),
        ("manifest_digest", Some(archive.manifest_digest.as_str())),
        ("image_id", Some(archive.image_id.as_str())),
        ("binary_sha256", program),
    ] {
        let expected = expected[field].as_str();
        if expected.is_none() || expected != found {
            let message = format!("the archive is not the image that {MANIFEST} describes");
            let expected = expected.unwrap_or("(missing in the manifest)");
            return Err(Diagnostic::new(&ARCHIVE_MISMATCH, message)
                .file(path)
                .expected(format!("image.{field} = {expected}"))
                .found(found.unwrap_or("nothing"))
                .hint("`cargo xtask dist` writes both; do not mix files of two runs"));
        }
    }
    Ok(())
}
