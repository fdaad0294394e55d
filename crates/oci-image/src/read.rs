//! Reading a finished archive: what is in the tar that somebody is about to load?
//!
//! An archive may have been cut by a full disk, or be somebody else's. Every blob is hashed and compared with its name,
//! every document is reached through the digest that names it, and the two lists of contents (`index.json` for new
//! engines, `manifest.json` for old ones) must describe the same image. Only then are digests reported.
//!
//! It reads what this crate writes: one image with one layer. It does not unpack anything to disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flate2::read::MultiGzDecoder;
use serde::de::DeserializeOwned;
use tar::Archive;

use crate::digest::{Hashing, blob_path, sha256};
use crate::document::{Config, Descriptor, DockerManifest, Index, LAYOUT_MARKER, Manifest};
use crate::spec::path_problem;

/// Documents are kept in memory while the archive streams by; ours are a few KiB.
const DOCUMENT_BYTES_MAX: u64 = 1 << 20;
/// Six files and two folders are ours; bounds what a hostile archive makes us keep.
const ENTRIES_MAX: usize = 64;
/// Stops a compression bomb; far above any layer that holds one program.
const LAYER_BYTES_MAX: u64 = 8 << 30;

/// A docker archive whose digests all hold.
#[derive(Debug)]
pub struct LoadableImage {
    /// The tag that loading will set.
    pub reference: String,
    pub manifest_digest: String,
    /// Digest of the config.
    pub image_id: String,
    pub architecture: String,
    /// `UID:GID`.
    pub user: String,
    pub entrypoint: Vec<String>,
    /// Regular files of the image by absolute path.
    pub file_digests: BTreeMap<String, String>,
}

impl LoadableImage {
    /// Reads the archive twice: once for blobs and documents, once through the layer.
    pub fn read(path: &Path) -> Result<Self> {
        read(path).with_context(|| format!("image archive `{}`", path.display()))
    }
}

fn read(path: &Path) -> Result<LoadableImage> {
    let contents = Contents::of(path)?;
    ensure!(
        contents.files.contains_key(LAYOUT_MARKER),
        "no `{LAYOUT_MARKER}` in it; expected a docker archive that is an OCI layout as well"
    );
    let index: Index = contents.document("index.json")?;
    let [image] = index.manifests.as_slice() else {
        bail!("index.json lists {} images; expected one", index.manifests.len());
    };
    let manifest: Manifest = contents.blob_document(image)?;
    let config: Config = contents.blob_document(&manifest.config)?;
    let ([layer], [diff_id]) = (manifest.layers.as_slice(), config.rootfs.diff_ids.as_slice()) else {
        bail!(
            "manifest lists {} layers, config {}; expected one each",
            manifest.layers.len(),
            config.rootfs.diff_ids.len()
        );
    };
    contents.require(layer)?;

    ensure!(
        contents.files.contains_key("manifest.json"),
        "no `manifest.json` in it: this is an OCI archive; expected the docker archive of the same image"
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

/// All regular files of the archive by path: size and digest of each, and the bytes of the small ones.
struct Contents {
    files: BTreeMap<String, (u64, String)>,
    documents: BTreeMap<String, Vec<u8>>,
}

impl Contents {
    fn of(path: &Path) -> Result<Self> {
        let mut archive = open(path)?;
        let mut contents = Self { files: BTreeMap::new(), documents: BTreeMap::new() };
        for entry in archive.entries().context("cannot be read as a tar")? {
            let mut entry = entry.context("is damaged or cut short")?;
            let name = plain_name(&entry)?;
            ensure!(contents.files.len() < ENTRIES_MAX, "has more than {ENTRIES_MAX} files; expected six");
            if entry.header().entry_type().is_dir() {
                continue;
            }
            // A link could stand for another `index.json` than the one that is read here.
            ensure!(entry.header().entry_type().is_file(), "`{name}` is neither a file nor a folder");
            let size = entry.size();
            let digest = if size <= DOCUMENT_BYTES_MAX {
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes).with_context(|| cut_short(&name))?;
                ensure!(bytes.len() as u64 == size, cut_short(&name));
                let digest = sha256(&bytes);
                contents.documents.insert(name.clone(), bytes);
                digest
            } else {
                let (read, digest) = Hashing::new(&mut entry).drain().with_context(|| cut_short(&name))?;
                ensure!(read == size, cut_short(&name));
                digest
            };
            if name.starts_with("blobs/") {
                ensure!(
                    blob_path(&digest) == name,
                    "`{name}` holds other bytes than its name says (their digest is {digest})"
                );
            }
            ensure!(
                contents.files.insert(name.clone(), (size, digest)).is_none(),
                "`{name}` stands twice in it"
            );
        }
        Ok(contents)
    }

    fn document<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let bytes = self.documents.get(name).with_context(|| format!("no `{name}` in it"))?;
        serde_json::from_slice(bytes).with_context(|| format!("`{name}` is not what its name says"))
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
        let mut tar = Archive::new(Hashing::new(MultiGzDecoder::new(entry).take(LAYER_BYTES_MAX)));
        let mut digests = BTreeMap::new();
        for entry in tar.entries()? {
            let mut entry = entry.context("the layer is damaged")?;
            let path = format!("/{}", plain_name(&entry).context("the layer is not one of ours")?);
            if entry.header().entry_type().is_dir() {
                continue;
            }
            ensure!(
                entry.header().entry_type().is_file(),
                "`{path}` in the layer is neither a file nor a folder"
            );
            let (_, digest) = Hashing::new(&mut entry).drain().context("the layer is damaged")?;
            // Engines unpack both and keep the second; a digest of the first would prove nothing.
            ensure!(digests.insert(path.clone(), digest).is_none(), "`{path}` stands twice in the layer");
        }
        // The tar reader stops at the end marker; the digest covers what follows it, too.
        let (_, diff_id) = tar.into_inner().drain().context("the layer is damaged")?;
        return Ok((digests, diff_id));
    }
    bail!("blob {} is listed and missing", layer.digest)
}

fn open(path: &Path) -> Result<Archive<BufReader<File>>> {
    let file = File::open(path).context("cannot be opened")?;
    ensure!(file.metadata()?.is_file(), "expected a file");
    Ok(Archive::new(BufReader::with_capacity(1 << 16, file)))
}

/// The name, when it is written in the only way that all readers take for the same file: `./a` and `a` are two names
/// to one of them and one to another.
fn plain_name(entry: &tar::Entry<'_, impl Read>) -> Result<String> {
    let path = entry.path().context("has an entry without a usable name")?;
    let name = path.to_str().context("has an entry whose name is not UTF-8")?.trim_end_matches('/');
    if let Some(problem) = path_problem(&format!("/{name}")) {
        bail!("has an entry `{name}`, which {problem}");
    }
    Ok(name.to_owned())
}

fn cut_short(name: &str) -> String {
    format!("`{name}` is cut short")
}
