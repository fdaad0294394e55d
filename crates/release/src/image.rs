//! The container image: nothing but the proved binary, a user to run it, and labels.

use std::collections::BTreeMap;

use oci_image::{Image, ImageFile, ImageSpec, rfc3339};
use serde::Serialize;

use crate::artifact::{Artifact, Proved};
use crate::config::ImageVariant;
use crate::plan::Plan;

/// An image made of proved bytes.
pub struct Built {
    pub image: Image,
    pub facts: ImageFacts,
}

#[derive(Debug, Clone, Serialize)]
pub struct ImageFacts {
    pub reference: String,
    pub manifest_digest: String,
    /// The digest of the image's configuration: what `docker images` shows after a load.
    pub image_id: String,
    pub variant: ImageVariant,
    pub binary_sha256: store::Digest,
}

/// The one of the two proved binaries that the configuration names.
fn binary<'a>(plan: &Plan, proved: &'a Proved) -> &'a Artifact {
    match plan.config.image.variant {
        ImageVariant::Packed => &proved.packed.file,
        ImageVariant::Unpacked => &proved.packed.stripped.file,
    }
}

pub fn build(plan: &Plan, proved: &Proved) -> anyhow::Result<Built> {
    let binary = binary(plan, proved);
    let name = &plan.config.product.name;
    let config = &plan.config.image;
    let program = format!("/{name}");
    let image = Image::build(&ImageSpec {
        files: vec![ImageFile::from_bytes(&program, 0o555, binary.read()?)],
        entrypoint: std::iter::once(&program).chain(&config.entrypoint_args).cloned().collect(),
        cmd: config.cmd.clone(),
        env: config.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        user: config.user.clone(),
        workdir: "/".into(),
        labels: labels(plan, binary),
        exposed_ports: config.exposed_ports.clone(),
        architecture: architecture(&plan.target).into(),
        created_unix_seconds: plan.commit.epoch_seconds,
        reference: format!("{}:{}", config.reference, plan.version),
    })?;
    let facts = ImageFacts {
        reference: format!("{}:{}", plan.config.image.reference, plan.version),
        manifest_digest: image.manifest_digest().into(),
        image_id: image.image_id().into(),
        variant: plan.config.image.variant,
        binary_sha256: binary.sha256.clone(),
    };
    Ok(Built { image, facts })
}

/// The labels of release.toml, and those that follow from the build.
fn labels(plan: &Plan, binary: &Artifact) -> BTreeMap<String, String> {
    let full_key =
        |key: &str| if key.contains('.') { key.into() } else { format!("org.opencontainers.image.{key}") };
    let own = [
        ("title", plan.config.product.name.clone()),
        ("version", plan.version.clone()),
        ("revision", plan.commit.id.clone()),
        ("created", rfc3339(plan.commit.epoch_seconds)),
        ("io.muslin.binary.sha256", binary.sha256.to_string()),
    ];
    let configured = plan.config.image.labels.iter().map(|(key, value)| (full_key(key), value.clone()));
    configured.chain(own.map(|(key, value)| (full_key(key), value))).collect()
}

/// As OCI names processors.
fn architecture(target: &str) -> &'static str {
    if target.starts_with("aarch64") { "arm64" } else { "amd64" }
}
