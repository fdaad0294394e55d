//! The image archive of a `dist/` folder, and what `dist-manifest.json` promises about it.

use std::path::{Path, PathBuf};

use diag::Diagnostic;
use oci_image::LoadableImage;
use serde_json::Value;

const MANIFEST: &str = "dist-manifest.json";
const SUFFIX: &str = ".docker.tar";

/// An archive that is whole and is the one that was proved.
pub struct DistImage {
    pub path: PathBuf,
    pub archive: LoadableImage,
}

impl DistImage {
    pub fn find(dist: &Path) -> Result<Self, Diagnostic> {
        let manifest = read_manifest(dist)?;
        let path = find_image(dist, manifest.as_ref())?;
        let archive = LoadableImage::read(&path).map_err(|error| {
            Diagnostic::new(&release::GENERAL, format!("{error:#}"))
                .hint("`cargo xtask dist` writes the archive anew")
        })?;
        if let Some(manifest) = &manifest {
            compare(&path, &archive, &manifest["image"])?;
        } else {
            eprintln!(
                "warning: no {MANIFEST} in {}; nothing says that this image was proved",
                dist.display()
            );
        }
        Ok(Self { path, archive })
    }

    /// Engines with the classic store name an image by its config, those with the containerd store by its manifest.
    pub fn is_called(&self, id: &str) -> bool {
        id == self.archive.image_id || id == self.archive.manifest_digest
    }
}

fn read_manifest(dist: &Path) -> Result<Option<Value>, Diagnostic> {
    let path = dist.join(MANIFEST);
    let broken = |error: String| {
        Diagnostic::new(&release::GENERAL, format!("{}: {error}", path.display()))
            .hint("`cargo xtask dist` writes it anew")
    };
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| broken(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(broken(error.to_string())),
    }
}

/// The archive that the manifest lists, or without a manifest the only one there is.
fn find_image(dist: &Path, manifest: Option<&Value>) -> Result<PathBuf, Diagnostic> {
    let names: Vec<String> = match manifest {
        Some(manifest) => manifest["files"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|file| file["name"].as_str().map(String::from))
            .filter(|name| name.ends_with(SUFFIX))
            .collect(),
        None => {
            let entries = std::fs::read_dir(dist).map_err(|error| {
                Diagnostic::new(&release::GENERAL, format!("{}: {error}", dist.display()))
                    .hint("`cargo xtask dist` makes it; --dist names another folder")
            })?;
            let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.filter(|name| name.ends_with(SUFFIX) && !name.starts_with('.')).collect()
        }
    };
    match names.as_slice() {
        [name] => Ok(dist.join(name)),
        _ => Err(Diagnostic::new(
            &release::GENERAL,
            format!("{}: which image is to be loaded?", dist.display()),
        )
        .expected(format!("one *{SUFFIX}"))
        .found(if names.is_empty() { "none".into() } else { names.join(", ") })
        .hint("`cargo xtask dist` makes it; --dist names another folder")),
    }
}

/// What was proved, what was hashed and what is about to run must be the same bytes.
fn compare(path: &Path, archive: &LoadableImage, promised: &Value) -> Result<(), Diagnostic> {
    let program = archive.entrypoint.first().and_then(|program| archive.file_digests.get(program));
    let program = program.map(|digest| digest.trim_start_matches("sha256:"));
    for (field, found) in [
        ("reference", Some(archive.reference.as_str())),
        ("manifest_digest", Some(archive.manifest_digest.as_str())),
        ("image_id", Some(archive.image_id.as_str())),
        ("binary_sha256", program),
    ] {
        let expected = promised[field].as_str();
        if expected.is_none() || expected != found {
            return Err(Diagnostic::new(
                &release::GENERAL,
                format!("{} is not the image that {MANIFEST} describes", path.display()),
            )
            .expected(format!("image.{field} = {}", expected.unwrap_or("(missing in the manifest)")))
            .found(found.unwrap_or("nothing"))
            .hint("`cargo xtask dist` makes both anew; do not mix files of two runs"));
        }
    }
    Ok(())
}
