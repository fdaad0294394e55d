//! The specification of an image. `validate` checks it.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Everything that decides the bytes of an image.
///
/// ```
/// use oci_image::{OciImage, ImageFile, ImageSpec};
///
/// let image = OciImage::build(&ImageSpec {
///     files: vec![ImageFile::from_bytes("/hello", 0o555, "bytes of a static program")],
///     entrypoint: vec!["/hello".into()],
///     cmd: vec![],
///     env: vec![],
///     user: "65532:65532".into(),
///     workdir: "/".into(),
///     labels: Default::default(),
///     exposed_ports: vec![],
///     architecture: "amd64".into(),
///     created_unix_seconds: 0,
///     reference: "hello:1.0".into(),
/// })?;
/// assert!(image.manifest_digest().starts_with("sha256:"));
/// # Ok::<(), diag::Diagnostics>(())
/// ```
#[derive(Clone, Debug)]
pub struct ImageSpec {
    /// In any order. Missing parent folders get mode 0755.
    pub files: Vec<ImageFile>,
    /// The program as an absolute path in the image, and leading arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that `docker run IMAGE ARGS…` replaces.
    pub cmd: Vec<String>,
    /// `KEY=VALUE`.
    pub env: Vec<String>,
    /// `UID:GID`, both numbers and not root: a scratch image has no user names, and `runAsNonRoot` of Kubernetes
    /// accepts only numbers.
    pub user: String,
    /// An absolute path of a folder in the image; `/` always exists.
    pub workdir: String,
    /// Keys `org.opencontainers.image.*` are copied to the annotations of the manifest.
    pub labels: BTreeMap<String, String>,
    /// Such as `8080/tcp`.
    pub exposed_ports: Vec<String>,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// The date in the config. Layers do not carry it.
    pub created_unix_seconds: u64,
    /// Name and tag, such as `inferd:0.1.0`.
    pub reference: String,
}

/// One file or folder of the image. The owner is root and the time is 1970-01-01.
#[derive(Clone, Debug)]
pub struct ImageFile {
    /// Absolute path in the image.
    pub path: String,
    /// Permission bits, at most 0o7777.
    pub mode: u32,
    /// The bytes, or that it is a folder.
    pub content: Content,
}

/// Source of the bytes.
#[derive(Clone, Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A regular file; only its bytes are used, not its owner, mode or time.
    Source(PathBuf),
    /// None: it is a folder.
    Folder,
}

impl ImageFile {
    /// A file with these bytes.
    pub fn from_bytes(path: &str, mode: u32, bytes: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), mode, content: Content::Bytes(bytes.into()) }
    }

    /// A file with the bytes of `source`, which is read by [`OciImage::build`](crate::OciImage::build).
    pub fn from_source(path: &str, mode: u32, source: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), mode, content: Content::Source(source.into()) }
    }

    /// A folder.
    pub fn folder(path: &str, mode: u32) -> Self {
        Self { path: path.into(), mode, content: Content::Folder }
    }
}
