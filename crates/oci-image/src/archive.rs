//! Writes the files of an OCI layout as a tar.

use std::io::Write;

use anyhow::{Context, Result};
use tar::{Builder, EntryType};

use crate::tar_entry::append;

/// Files by their path in the layout, in the order of the tar.
type Files<'a> = [(String, &'a [u8])];

/// The headers have the same constants as those of the layer, so the archive is reproducible too.
pub fn write_tar(files: &Files<'_>, w: impl Write) -> Result<()> {
    let mut archive = Builder::new(w);
    for folder in ["blobs/", "blobs/sha256/"] {
        append(&mut archive, folder, EntryType::Directory, 0o755, &[])
            .context("cannot write the image archive")?;
    }
    for (path, bytes) in files {
        append(&mut archive, path, EntryType::Regular, 0o644, bytes)
            .with_context(|| format!("cannot write `{path}` of the image archive"))?;
    }
    archive.into_inner().and_then(|mut w| w.flush()).context("cannot finish the image archive")
}
