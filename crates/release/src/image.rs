//! The container image: nothing but the proved binary, a user to run it, and labels.

use std::collections::BTreeMap;

use oci_image::{Image, ImageFile, ImageSpec, rfc3339};
use serde::Serialize;

use crate::artifact::{Artifact, Proved};
use crate::config::Ships;
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
    pub ships: Ships,
    pub binary_sha256: store::Digest,
}

/// The one of the two proved binaries that the configuration names.
fn binary<'a>(plan: &Plan, proved: &'a Proved) -> &'a Artifact {
    match plan.config.image.ships {
        Ships::Packed => &proved.packed.file,
        Ships::Unpacked => &proved.packed.stripped.file,
    }
}

pub fn build(plan: &Plan, proved: &Proved) -> anyhow::Result<Built> {
    let binary = binary(plan, proved);
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
        ("io.muslin.binary.sha256".to_string(), binary.sha256.to_string()),
    ]);
    let image = Image::build(&ImageSpec {
        files: vec![ImageFile::from_bytes(&format!("/{name}"), 0o555, binary.read()?)],
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
        binary_sha256: binary.sha256.clone(),
    };
    Ok(Built { image, facts })
}

/// As OCI names processors.
fn architecture(target: &str) -> &'static str {
    if target.starts_with("aarch64") { "arm64" } else { "amd64" }
}
