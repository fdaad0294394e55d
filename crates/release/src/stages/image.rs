//! Stage `image`: a container image with the proved binary, a user and labels, and nothing else.

use std::collections::BTreeMap;

use elf_gate::RuleOutcome;
use oci_image::{ImageFile, ImageSpec, OciImage, rfc3339};
use serde::Serialize;
use store::Digest;

use crate::artifact::Artifact;
use crate::config::ImageVariant;
use crate::gate::ImageArchive;
use crate::plan::Plan;
use crate::stages::mutation::{self, MutantResult};
use crate::stages::prove::Proved;

/// An image, and the proved file that it was made of.
///
/// ```compile_fail,E0451
/// use release::stages::{image::{Image, ImageFacts}, prove::Proved};
/// fn forge(proved: Proved, image: oci_image::OciImage, facts: ImageFacts) -> Image {
///     Image { proved, image, facts }
/// }
/// ```
pub struct Image {
    proved: Proved,
    image: OciImage,
    facts: ImageFacts,
}

impl Image {
    /// The files before.
    pub fn proved(&self) -> &Proved {
        &self.proved
    }

    /// The image itself.
    pub fn image(&self) -> &OciImage {
        &self.image
    }

    /// Names and digests.
    pub fn facts(&self) -> &ImageFacts {
        &self.facts
    }

    #[cfg(test)]
    pub(crate) fn into_image(self) -> OciImage {
        self.image
    }

    /// An image of other bytes than the proved ones, for the test that `publish` rejects it.
    #[cfg(test)]
    pub(crate) fn unchecked(proved: Proved, image: OciImage, facts: ImageFacts) -> Self {
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
    pub variant: ImageVariant,
    /// Digest of the bytes in the image.
    pub binary_sha256: Digest,
    /// One outcome for each rule on images.
    pub rules: Vec<RuleOutcome>,
    /// For each rule on images a program that the image lacks something for.
    pub mutants: Vec<MutantResult>,
}

/// The proved binary that the configuration names for the image.
pub(crate) fn binary<'a>(plan: &Plan, proved: &'a Proved) -> &'a Artifact {
    let packed = proved.tested().packed();
    match plan.config.image.variant {
        ImageVariant::Packed => packed.file(),
        ImageVariant::Unpacked => packed.stripped().file(),
    }
}

/// Builds the image of the proved bytes.
pub fn build(plan: &Plan, proved: Proved) -> anyhow::Result<Image> {
    let file = binary(plan, &proved);
    // The same file is published beside the image.
    file.verify()?;
    let bytes = file.read()?;
    // Of the bytes that go into the image, not of the record about them.
    let binary_sha256 = Digest::of(bytes);
    let config = &plan.config.image;
    let program = format!("/{}", plan.config.product.name);
    let image = OciImage::build(&ImageSpec {
        files: vec![ImageFile::from_bytes(&program, 0o555, bytes.to_vec())],
        entrypoint: std::iter::once(&program).chain(&config.entrypoint_args).cloned().collect(),
        cmd: config.cmd.clone(),
        env: config.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        user: config.user.clone(),
        workdir: "/".into(),
        labels: labels(plan, &binary_sha256),
        exposed_ports: config.exposed_ports.clone(),
        architecture: architecture(&plan.target).into(),
        created_unix_seconds: plan.commit.epoch_seconds,
        reference: format!("{}:{}", config.reference, plan.version),
    })?;
    let archive = ImageArchive::of(plan, &image)?;
    let linked = proved.tested().packed().stripped().linked().file();
    let facts = ImageFacts {
        reference: format!("{}:{}", plan.config.image.reference, plan.version),
        manifest_digest: image.manifest_digest().into(),
        image_id: image.image_id().into(),
        variant: plan.config.image.variant,
        binary_sha256,
        rules: archive.judge(linked)?,
        mutants: mutation::test_image(linked.read()?, |facts| archive.outcomes(facts))?,
    };
    Ok(Image { proved, image, facts })
}

/// The labels of release.toml, and those that follow from the build.
fn labels(plan: &Plan, binary_sha256: &Digest) -> BTreeMap<String, String> {
    let full_key =
        |key: &str| if key.contains('.') { key.into() } else { format!("org.opencontainers.image.{key}") };
    let own = [
        ("title", plan.config.product.name.clone()),
        ("version", plan.version.clone()),
        ("revision", plan.commit.id.clone()),
        ("created", rfc3339(plan.commit.epoch_seconds)),
        ("io.muslin.binary.sha256", binary_sha256.to_string()),
    ];
    let configured = plan.config.image.labels.iter().map(|(key, value)| (full_key(key), value.clone()));
    configured.chain(own.map(|(key, value)| (full_key(key), value))).collect()
}

/// OCI's name of the processor.
fn architecture(target: &str) -> &'static str {
    if target.starts_with("aarch64") { "arm64" } else { "amd64" }
}
