//! Writing the files of a layout, as a tar or as a folder.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result, bail};
use tar::{Builder, EntryType};

use crate::layer::append;

/// Files by their path in the layout, in the order in which they are written.
type Files<'a> = [(String, &'a [u8])];

/// A tar with the same constants in its headers as the layer has, so that the archive is reproducible as well.
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

/// A folder that appears by one rename: made beside its place, because a rename does not cross file systems.
pub fn write_folder(files: &Files<'_>, dir: &Path) -> Result<()> {
    if dir.symlink_metadata().is_ok() {
        bail!(
            "OCI layout `{}`: exists already; expected a path that is free\nhint: rm -r '{0}'",
            dir.display()
        );
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = tempfile::Builder::new()
        .prefix(".oci-layout-")
        .tempdir_in(parent)
        .with_context(|| format!("OCI layout: cannot make a staging folder in `{}`", parent.display()))?;
    let blobs = staging.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("cannot make `{}`", blobs.display()))?;
    for (path, bytes) in files {
        let place = staging.path().join(path);
        fs::write(&place, bytes).with_context(|| format!("cannot write `{}`", place.display()))?;
    }
    // Staging folders are private to their maker; a layout is for others to read.
    fs::set_permissions(staging.path(), fs::Permissions::from_mode(0o755))
        .and_then(|()| fs::rename(staging.path(), dir))
        .with_context(|| format!("cannot put the OCI layout at `{}`", dir.display()))?;
    // The folder has moved; there is nothing left to remove.
    let _moved = staging.keep();
    Ok(())
}
