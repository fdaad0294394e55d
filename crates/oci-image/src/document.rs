//! The JSON documents of an image: config, manifest, index and the manifest of `docker save`.
//!
//! Fields have the order of the structs and maps are sorted, so the content decides the text of each document and its digest.
//! Empty optional fields are omitted, as other writers do.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::date::rfc3339;
use crate::digest::Blob;
use crate::layer::ImageLayer;
use crate::reference::Reference;
use crate::spec::ImageSpec;

pub const LAYOUT_MARKER: &str = "oci-layout";
pub const LAYOUT_MARKER_TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

pub const MEDIA_TYPE_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const MEDIA_TYPE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const MEDIA_TYPE_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MEDIA_TYPE_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

const ANNOTATION_PREFIX: &str = "org.opencontainers.image.";
const ANNOTATION_REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Engines with the containerd store read the name of a loaded image only from this annotation.
const ANNOTATION_CONTAINERD_NAME: &str = "io.containerd.image.name";

/// The documents as bytes.
pub struct Documents {
    pub config: Blob,
    pub manifest: Blob,
    pub index: Vec<u8>,
    pub docker_manifest: Vec<u8>,
}

impl Documents {
    /// The documents of an image with one layer.
    pub fn new(spec: &ImageSpec, reference: &Reference, layer: &ImageLayer) -> Result<Self> {
        let config = Blob::new(json(&Config::of(spec, layer))?);
        // Registries and scanners that read only manifests find the labels there.
        let annotations =
            spec.labels.iter().filter(|(key, _)| key.starts_with(ANNOTATION_PREFIX)).map(owned).collect();
        let manifest = Blob::new(json(&Manifest {
            schema_version: 2,
            media_type: MEDIA_TYPE_MANIFEST.into(),
            config: Descriptor::of(MEDIA_TYPE_CONFIG, &config),
            layers: vec![Descriptor::of(MEDIA_TYPE_LAYER, &layer.blob)],
            annotations,
        })?);
        let index = json(&Index {
            schema_version: 2,
            media_type: MEDIA_TYPE_INDEX.into(),
            manifests: vec![Descriptor {
                annotations: BTreeMap::from([
                    (ANNOTATION_REF_NAME.into(), reference.tag().into()),
                    (ANNOTATION_CONTAINERD_NAME.into(), reference.completed()),
                ]),
                platform: Some(Platform { architecture: spec.architecture.clone(), os: "linux".into() }),
                ..Descriptor::of(MEDIA_TYPE_MANIFEST, &manifest)
            }],
        })?;
        let docker_manifest = json(&[DockerManifest {
            config: config.path(),
            repo_tags: vec![reference.as_given().into()],
            layers: vec![layer.blob.path()],
        }])?;
        Ok(Self { config, manifest, index, docker_manifest })
    }
}

fn json(document: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(document).context("cannot write an image document as JSON")
}

fn owned((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub manifests: Vec<Descriptor>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: String,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
}

impl Descriptor {
    fn of(media_type: &str, blob: &Blob) -> Self {
        Self {
            media_type: media_type.into(),
            digest: blob.digest.clone(),
            size: blob.bytes.len() as u64,
            annotations: BTreeMap::new(),
            platform: None,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
}

#[derive(Serialize, Deserialize)]
pub struct Config {
    #[serde(default)]
    pub created: String,
    pub architecture: String,
    pub os: String,
    pub config: Runtime,
    pub rootfs: RootFs,
    #[serde(default)]
    pub history: Vec<History>,
}

/// How a container of the image starts. The specification capitalizes these fields.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Runtime {
    #[serde(default)]
    pub user: String,
    /// A set; the specification writes it as an object with empty values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[expect(clippy::zero_sized_map_values, reason = "the type follows the JSON of the specification")]
    pub exposed_ports: BTreeMap<String, EmptyObject>,
    #[serde(default)]
    pub env: Vec<String>,
    #[serde(default)]
    pub entrypoint: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(default)]
    pub working_dir: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// `{}`
#[derive(Serialize, Deserialize)]
pub struct EmptyObject {}

#[derive(Serialize, Deserialize)]
pub struct RootFs {
    #[serde(rename = "type")]
    pub kind: String,
    pub diff_ids: Vec<String>,
}

#[derive(Serialize, Deserialize)]
pub struct History {
    #[serde(default)]
    pub created: String,
    #[serde(default)]
    pub created_by: String,
}

impl Config {
    fn of(spec: &ImageSpec, layer: &ImageLayer) -> Self {
        let created = rfc3339(spec.created_unix_seconds);
        Self {
            created: created.clone(),
            architecture: spec.architecture.clone(),
            os: "linux".into(),
            config: Runtime {
                user: spec.user.clone(),
                exposed_ports: spec.exposed_ports.iter().map(|port| (port.clone(), EmptyObject {})).collect(),
                env: spec.env.clone(),
                entrypoint: spec.entrypoint.clone(),
                cmd: spec.cmd.clone(),
                working_dir: spec.workdir.clone(),
                labels: spec.labels.clone(),
            },
            rootfs: RootFs { kind: "layers".into(), diff_ids: vec![layer.diff_id.clone()] },
            // One entry per layer: `docker history` and scanners pair them.
            history: vec![History { created, created_by: "oci-image".into() }],
        }
    }
}

/// One image in `manifest.json`, the format of `docker save`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct DockerManifest {
    pub config: String,
    pub repo_tags: Vec<String>,
    pub layers: Vec<String>,
}
