//! Reproducible container images, written and read without a daemon.
//!
//! - [`ImageSpec`] describes the files of an image and how it starts. [`OciImage::build`] turns it into one layer, a config, a
//!   manifest and an index, each identified by its digest. The writers only copy bytes.
//! - [`LoadableImage::read`] reads a finished archive and verifies every digest in it.
//!
//! The same specification gives the same bytes, on any machine and for any user: entries are sorted, owners and times are
//! constants, and only the content of a source file is used.
//!
//! The crate starts no process, uses no engine or registry, reads neither the clock nor the environment, and stacks no layers
//! on a base image. Invalid input is reported as diagnostics with the codes in [`CODES`].
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod accounts;
mod archive;
mod codes;
mod date;
mod digest;
mod document;
mod layer;
mod path;
mod read;
mod reference;
mod spec;
mod tar_entry;
mod tree;
mod validate;

use std::collections::BTreeMap;
use std::io::Write;

use diag::{Diagnostic, Diagnostics};

pub use accounts::account_files;
pub use codes::{CODES, IMAGE_ARCHIVE, IMAGE_SPEC, IMAGE_WRITE};
pub use date::rfc3339;
pub use read::LoadableImage;
pub use spec::{Content, ImageFile, ImageSpec};

use digest::Blob;
use document::Documents;
use layer::ImageLayer;
use reference::Reference;

/// A finished image: every byte of it is fixed.
pub struct OciImage {
    reference: Reference,
    layer: ImageLayer,
    documents: Documents,
}

impl OciImage {
    /// Checks the specification, reads each source file once, and fixes every byte of the image.
    ///
    /// All problems of the specification are reported together.
    pub fn build(spec: &ImageSpec) -> Result<Self, Diagnostics> {
        let (reference, tree) = validate::validate(spec)?;
        let written =
            ImageLayer::pack(&tree).and_then(|layer| Ok((Documents::new(spec, &reference, &layer)?, layer)));
        let (documents, layer) = written.map_err(|error| Diagnostics(vec![write_error(&error)]))?;
        Ok(Self { reference, layer, documents })
    }

    /// `sha256:…` of the manifest: identifies the image in registries and in the OCI layout.
    pub fn manifest_digest(&self) -> &str {
        &self.documents.manifest.digest
    }

    /// `sha256:…` of the config: the ID in `docker images` of classic stores (docs/image.md explains the difference).
    pub fn image_id(&self) -> &str {
        &self.documents.config.digest
    }

    /// `sha256:…` of the layer before compression.
    pub fn layer_diff_id(&self) -> &str {
        &self.layer.diff_id
    }

    /// `sha256:…` of the compressed layer.
    pub fn layer_digest(&self) -> &str {
        &self.layer.blob.digest
    }

    /// The reference in the form that `docker run` takes, such as `inferd:0.1.0`.
    pub fn reference(&self) -> &str {
        self.reference.as_given()
    }

    /// `sha256:…` of each regular file by its absolute path in the image. Compare these with the digests of the proved
    /// files: the image must contain the same bytes.
    pub fn file_digests(&self) -> &BTreeMap<String, String> {
        &self.layer.file_digests
    }

    /// An OCI image layout in a tar (`skopeo` calls it `oci-archive`).
    pub fn write_oci_tar(&self, w: impl Write) -> anyhow::Result<()> {
        archive::write_tar(&self.layout_files(), w).map_err(|error| write_error(&error).into())
    }

    /// A tar for `docker load`: the OCI layout and `manifest.json`, the only file that engines with the classic store read.
    /// Engines with the containerd store read the layout and keep the manifest digest.
    pub fn write_docker_tar(&self, w: impl Write) -> anyhow::Result<()> {
        let mut files = self.layout_files();
        files.push(("manifest.json".into(), &self.documents.docker_manifest));
        archive::write_tar(&files, w).map_err(|error| write_error(&error).into())
    }

    /// Documents, then blobs by digest: the order is fixed, and a reader finds the documents before the large blob.
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

/// The diagnostic in an error, or a new one with its causes.
fn write_error(error: &anyhow::Error) -> Diagnostic {
    match error.downcast_ref::<Diagnostic>() {
        Some(diagnostic) => diagnostic.clone(),
        None => {
            error.chain().skip(1).fold(Diagnostic::new(&IMAGE_WRITE, error.to_string()), Diagnostic::cause)
        }
    }
}
