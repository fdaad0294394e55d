//! Stage `image`: a container image with the proved binary, a user and labels, and nothing else.

use std::collections::BTreeMap;

use oci_image::{ImageFile, ImageSpec, rfc3339};
use serde::Serialize;
use store::Digest;

use crate::artifact::Artifact;
use crate::config::ImageVariant;
use crate::plan::Plan;
use crate::stages::prove::Proved;

/// An image, and the proved file that it was made of.
///
/// ```compile_fail,E0451
/// use release::stages::{image::{Image, ImageFacts}, prove::Proved};
/// fn forge(proved: Proved, image: oci_image::Image, facts: ImageFacts) -> Image {
///     Image { proved, image, facts }
/// }
/// ```
pub struct Image {
    proved: Proved,
    image: oci_image::Image,
    facts: ImageFacts,
}

impl Image {
    /// The files before.
    pub fn proved(&self) -> &Proved {
        &self.proved
    }

    /// The image itself.
    pub fn image(&self) -> &oci_image::Image {
        &self.image
    }

    /// Names and digests.
    pub fn facts(&self) -> &ImageFacts {
        &self.facts
    }

    #[cfg(test)]
    pub(crate) fn into_image(self) -> oci_image::Image {
        self.image
    }

    /// An image of other bytes than the proved ones, for the test that `publish` rejects it.
    #[cfg(test)]
    pub(crate) fn unchecked(proved: Proved, image: oci_image::Image, facts: ImageFacts) -> Self {
        Self { proved, image, facts }
    }
}

/// Names and digests of an image.
#[derive(Debug, Clone, Serialize)]
pub struct ImageFacts {
    /// Name and tag.
    pub reference: String,
    /// Digest of the OCI manifest.
    pub manifest_digest: String,
    /// Digest of the image's configuration: `docker images` shows it after a load.
    pub image_id: String,
    /// Which binary is in the image.
    pub ships: ImageVariant,
    /// Digest of the bytes in the image.
    pub binary_sha256: Digest,
}

/// The proved binary that the configuration names for the image.
pub(crate) fn binary<'a>(plan: &Plan, proved: &'a Proved) -> &'a Artifact {
    let packed = proved.tested().packed();
    match plan.config.image.ships {
        ImageVariant::Packed => packed.file(),
        ImageVariant::Unpacked => packed.stripped().file(),
    }
}

/// Builds the image of the proved bytes.
pub fn build(plan: &Plan, proved: Proved) -> anyhow::Result<Image> {
    let bytes = binary(plan, &proved).read()?;
    // Of the bytes that go into the image, not of the record about them.
    let binary_sha256 = Digest::of(&bytes);
    let name = &plan.config.product.name;
    let label = |key: &str, value: &str| (format!("org.opencontainers.image.{key}"), value.to_string());
    let labels = BTreeMap::from([
        label("title", name),
        label("description", "Inference server for CPU hosts; one static musl binary"),
        label("version", &plan.version),
        label("revision", &plan.commit.id),
        label("source", env!("CARGO_PKG_REPOSITORY")),
        label("licenses", env!("CARGO_PKG_LICENSE")),
        label("created", &rfc3339(plan.commit.epoch_seconds)),
        ("io.muslin.binary.sha256".to_string(), binary_sha256.to_string()),
    ]);
    let image = oci_image::Image::build(&ImageSpec {
        files: vec![ImageFile::from_bytes(&format!("/{name}"), 0o555, bytes)],
        entrypoint: vec![format!("/{name}")],
        cmd: vec!["--help".into()],
        env: Vec::new(),
        user: plan.config.image.user.clone(),
        workdir: "/".into(),
        labels,
        exposed_ports: Vec::new(),
        architecture: architecture(&plan.target).into(),
        created_unix_seconds: plan.commit.epoch_seconds,
        reference: format!("{}:{}", plan.config.image.reference, plan.version),
    })?;
    let facts = ImageFacts {
        reference: format!("{}:{}", plan.config.image.reference, plan.version),
        manifest_digest: image.manifest_digest().into(),
        image_id: image.image_id().into(),
        ships: plan.config.image.ships,
        binary_sha256,
    };
    Ok(Image { proved, image, facts })
}

/// OCI's name of the processor.
fn architecture(target: &str) -> &'static str {
    if target.starts_with("aarch64") { "arm64" } else { "amd64" }
}
