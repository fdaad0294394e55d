//! Reproducible container images, written without a daemon and read back without one.
//!
//! An [`ImageSpec`] says what is in the image and how it starts. [`Image::build`] turns it into the four things an
//! image is made of: one layer, a config, a manifest and an index. All of them are fixed at that moment and named by
//! digest; the writers only copy bytes. [`LoadableImage::read`] goes the other way: it opens a finished archive and
//! believes nothing in it that a digest does not prove.
//!
//! The same spec gives the same bytes, on any machine and under any user: entries are sorted, owners and times are
//! constants, and nothing is read from a source file except its content.
//!
//! What this crate deliberately does not do: start a process, talk to an engine or a registry, read the clock or the
//! environment, stack layers on a base image. It does not know what it packs.

mod accounts;
mod archive;
mod digest;
mod document;
mod layer;
mod read;
mod reference;
mod spec;
mod timestamp;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::Result;

pub use accounts::account_files;
pub use read::LoadableImage;
pub use spec::{Content, ImageFile, ImageSpec};
pub use timestamp::rfc3339;

use digest::Blob;
use document::Documents;
use layer::Layer;
use reference::Reference;

/// A finished image: every byte of it is decided.
pub struct Image {
    reference: Reference,
    layer: Layer,
    documents: Documents,
}

impl Image {
    /// Checks the spec, reads the source files once and fixes every byte of the image.
    ///
    /// All problems of the spec are reported together, not only the first.
    pub fn build(spec: &ImageSpec) -> Result<Self> {
        let (reference, tree) = spec::check(spec)?;
        let layer = Layer::pack(&tree)?;
        let documents = Documents::describe(spec, &reference, &layer)?;
        Ok(Self { reference, layer, documents })
    }

    /// `sha256:…` of the manifest: what a registry and the OCI layout call this image.
    pub fn manifest_digest(&self) -> &str {
        &self.documents.manifest.digest
    }

    /// `sha256:…` of the config: what `docker images` calls this image (see docs/image.md for why they differ).
    pub fn image_id(&self) -> &str {
        &self.documents.config.digest
    }

    /// `sha256:…` of the layer before compression.
    pub fn layer_diff_id(&self) -> &str {
        &self.layer.diff_id
    }

    /// `sha256:…` of the layer as it is stored (gzip).
    pub fn layer_digest(&self) -> &str {
        &self.layer.blob.digest
    }

    /// The reference in the form that `docker run` takes, such as `inferd:0.1.0`.
    pub fn reference(&self) -> &str {
        self.reference.as_given()
    }

    /// `sha256:…` of each regular file in the image, by its path there. Compare these with the digests of the
    /// files that were proved: what ships must be the same bytes.
    pub fn file_digests(&self) -> &BTreeMap<String, String> {
        &self.layer.file_digests
    }

    /// An OCI image layout in a tar (`skopeo` calls it `oci-archive`).
    pub fn write_oci_tar(&self, w: impl Write) -> Result<()> {
        archive::write_tar(&self.layout_files(), w)
    }

    /// A tar for `docker load`. It is the OCI layout and one file more, `manifest.json`, which is all that engines
    /// with the classic image store look at; engines with the containerd store read the layout and keep the
    /// manifest digest.
    pub fn write_docker_tar(&self, w: impl Write) -> Result<()> {
        let mut files = self.layout_files();
        files.push(("manifest.json".into(), &self.documents.docker_manifest));
        archive::write_tar(&files, w)
    }

    /// An OCI image layout as a folder. `dir` must not exist; it appears complete or not at all.
    pub fn write_oci_layout(&self, dir: &Path) -> Result<()> {
        archive::write_folder(&self.layout_files(), dir)
    }

    /// Documents first, blobs by digest after them: the order is a constant, and the small files of a big archive are
    /// found without reading through the layer.
    fn layout_files(&self) -> Vec<(String, &[u8])> {
        let mut files: Vec<(String, &[u8])> = vec![
            (document::LAYOUT_MARKER.into(), document::LAYOUT_MARKER_TEXT.as_bytes()),
            ("index.json".into(), &self.documents.index),
        ];
        let mut blobs: Vec<(String, &[u8])> =
            [&self.documents.config, &self.documents.manifest, &self.layer.blob]
                .into_iter()
                .map(|blob: &Blob| (blob.path(), blob.bytes.as_slice()))
                .collect();
        blobs.sort();
        files.append(&mut blobs);
        files
    }
}
