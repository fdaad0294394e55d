//! Reads a finished archive before an engine loads it.
//!
//! An archive may be incomplete or come from another program. Every blob is hashed and compared with its name, every
//! document is reached through the digest that names it, and the two lists of contents (`index.json` for containerd stores,
//! `manifest.json` for classic stores) must describe the same image. Digests are reported only then.
//!
//! It reads what this crate writes: one image with one layer. It does not unpack anything to disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use diag::Diagnostic;
use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;
use tar::Archive;

use crate::codes::IMAGE_ARCHIVE;
use crate::digest::{HashingReader, blob_path, sha256};
use crate::document::{Config, Descriptor, DockerManifest, Index, LAYOUT_MARKER, Manifest};
use crate::path::path_problem;

/// Documents stay in memory while the archive is read; those of this crate have a few KiB.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// This crate writes six files and two folders. Bounds the memory for a hostile archive.
const ENTRIES_MAX: usize = 64;
/// Limits a compression bomb; far above any layer with one program.
const LAYER_BYTES_MAX: u64 = 8 << 30;

/// A docker archive with verified digests.
#[derive(Debug)]
pub struct LoadableImage {
    /// The reference that loading sets.
    pub reference: String,
    /// `sha256:…` of the manifest.
    pub manifest_digest: String,
    /// `sha256:…` of the config.
    pub image_id: String,
    /// `amd64` or `arm64`.
    pub architecture: String,
    /// `UID:GID`.
    pub user: String,
    /// The program and its leading arguments.
    pub entrypoint: Vec<String>,
    /// `sha256:…` of each regular file by its absolute path in the image.
    pub file_digests: BTreeMap<String, String>,
}

impl LoadableImage {
    /// Reads the archive twice: once for blobs and documents, once for the files of the layer.
    ///
    /// ```
    /// let error = oci_image::LoadableImage::read("no-such.docker.tar".as_ref()).unwrap_err();
    /// assert_eq!(error.code(), &oci_image::IMAGE_ARCHIVE);
    /// ```
    pub fn read(path: &Path) -> Result<Self, Diagnostic> {
        read(path).map_err(|error| {
            Diagnostic::new(&IMAGE_ARCHIVE, "the image archive cannot be used")
                .file(path)
                .found(format!("{error:#}"))
        })
    }
}

fn read(path: &Path) -> Result<LoadableImage> {
    let contents = Contents::read(path)?;
    ensure!(
        contents.files.contains_key(LAYOUT_MARKER),
        "it has no `{LAYOUT_MARKER}`; expected a docker archive that is also an OCI layout"
    );
    let index: Index = contents.document("index.json")?;
    let [image] = index.manifests.as_slice() else {
        bail!("index.json lists {} images; expected one", index.manifests.len());
    };
    let manifest: Manifest = contents.blob_document(image)?;
    let config: Config = contents.blob_document(&manifest.config)?;
    let ([layer], [diff_id]) = (manifest.layers.as_slice(), config.rootfs.diff_ids.as_slice()) else {
        bail!(
            "the manifest lists {} layers, the config {}; expected one each",
            manifest.layers.len(),
            config.rootfs.diff_ids.len()
        );
    };
    contents.require(layer)?;

    ensure!(
        contents.files.contains_key("manifest.json"),
        "it has no `manifest.json`: this is an OCI archive; expected the docker archive of the same image"
    );
    let docker: Vec<DockerManifest> = contents.document("manifest.json")?;
    let [docker] = docker.as_slice() else {
        bail!("manifest.json lists {} images; expected one", docker.len());
    };
    let expected = (&blob_path(&manifest.config.digest), [blob_path(&layer.digest)].to_vec());
    let found = (&docker.config, docker.layers.clone());
    ensure!(expected == found, "index.json and manifest.json describe different images");
    let [reference] = docker.repo_tags.as_slice() else {
        bail!("manifest.json has {} tags; expected one", docker.repo_tags.len());
    };

    let (file_digests, found) = unpack_layer(path, layer)?;
    ensure!(found == *diff_id, "the unpacked layer has digest {found}; the config says {diff_id}");
    Ok(LoadableImage {
        reference: reference.clone(),
        manifest_digest: image.digest.clone(),
        image_id: manifest.config.digest.clone(),
        architecture: config.architecture,
        user: config.config.user,
        entrypoint: config.config.entrypoint,
        file_digests,
    })
}

/// Size and digest of each regular file by path, and the bytes of small files.
struct Contents {
    files: BTreeMap<String, (u64, String)>,
    documents: BTreeMap<String, Vec<u8>>,
}

impl Contents {
    fn read(path: &Path) -> Result<Self> {
        let mut archive = open(path)?;
        let mut contents = Self { files: BTreeMap::new(), documents: BTreeMap::new() };
        for entry in archive.entries().context("it is not a tar")? {
            let mut entry = entry.context("it is damaged or truncated")?;
            let name = plain_name(&entry)?;
            ensure!(contents.files.len() < ENTRIES_MAX, "it has more than {ENTRIES_MAX} files; expected six");
            if entry.header().entry_type().is_dir() {
                continue;
            }
            // A link could replace the `index.json` that is read here.
            ensure!(entry.header().entry_type().is_file(), "`{name}` is neither a file nor a folder");
            let size = entry.size();
            let digest = if size <= DOCUMENT_BYTES_MAX {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).with_context(|| truncated(&name))?;
                ensure!(bytes.len() as u64 == size, truncated(&name));
                let digest = sha256(&bytes);
                contents.documents.insert(name.clone(), bytes);
                digest
            } else {
                let (read, digest) =
                    HashingReader::new(&mut entry).drain().with_context(|| truncated(&name))?;
                ensure!(read == size, truncated(&name));
                digest
            };
            if name.starts_with("blobs/") {
                ensure!(
                    blob_path(&digest) == name,
                    "`{name}` has other bytes than its name says (their digest is {digest})"
                );
            }
            ensure!(contents.files.insert(name.clone(), (size, digest)).is_none(), "it has `{name}` twice");
        }
        Ok(contents)
    }

    fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let bytes = self.documents.get(name).with_context(|| format!("it has no `{name}`"))?;
        serde_json::from_slice(bytes).with_context(|| format!("`{name}` is not a document of its kind"))
    }

    fn blob_document<T: DeserializeOwned>(&self, descriptor: &Descriptor) -> Result<T> {
        self.require(descriptor)?;
        self.document(&blob_path(&descriptor.digest))
    }

    fn require(&self, descriptor: &Descriptor) -> Result<()> {
        let (size, _) = self
            .files
            .get(&blob_path(&descriptor.digest))
            .with_context(|| format!("blob {} is listed and missing", descriptor.digest))?;
        ensure!(
            *size == descriptor.size,
            "blob {}: {size} bytes; its descriptor says {}",
            descriptor.digest,
            descriptor.size
        );
        Ok(())
    }
}

/// Digests of the files in the layer, and of the layer's tar as a whole.
fn unpack_layer(path: &Path, layer: &Descriptor) -> Result<(BTreeMap<String, String>, String)> {
    let name = PathBuf::from(blob_path(&layer.digest));
    let mut archive = open(path)?;
    for entry in archive.entries()? {
        let entry = entry?;
        if entry.path()? != name {
            continue;
        }
        let mut tar = Archive::new(HashingReader::new(MultiGzDecoder::new(entry).take(LAYER_BYTES_MAX)));
        let mut digests = BTreeMap::new();
        for entry in tar.entries()? {
            let mut entry = entry.context("the layer is damaged")?;
            let path =
                format!("/{}", plain_name(&entry).context("the layer was written by another program")?);
            if entry.header().entry_type().is_dir() {
                continue;
            }
            ensure!(
                entry.header().entry_type().is_file(),
                "`{path}` in the layer is neither a file nor a folder"
            );
            let (_, digest) = HashingReader::new(&mut entry).drain().context("the layer is damaged")?;
            // Engines unpack both and keep the second; the digest of the first proves nothing.
            ensure!(digests.insert(path.clone(), digest).is_none(), "the layer has `{path}` twice");
        }
        // The tar reader stops at the end marker; the digest covers also what follows.
        let (_, diff_id) = tar.into_inner().drain().context("the layer is damaged")?;
        return Ok((digests, diff_id));
    }
    bail!("blob {} is listed and missing", layer.digest)
}

fn open(path: &Path) -> Result<Archive<BufReader<File>>> {
    let file = File::open(path).context("it cannot be opened")?;
    ensure!(file.metadata()?.is_file(), "it is not a regular file");
    Ok(Archive::new(BufReader::with_capacity(1 << 16, file)))
}

/// The name in its plain spelling. Readers disagree on others: `./a` and `a` are two files to one of them and one to another.
fn plain_name(entry: &tar::Entry<'_, impl Read>) -> Result<String> {
    let path = entry.path().context("it has an entry without a usable name")?;
    let name = path.to_str().context("it has an entry whose name is not UTF-8")?.trim_end_matches('/');
    if let Some(problem) = path_problem(&format!("/{name}")) {
        bail!("it has an entry `{name}`, which {problem}");
    }
    Ok(name.to_owned())
}

fn truncated(name: &str) -> String {
    format!("`{name}` is truncated")
}
