//! Writes the files of an OCI layout as a tar or as a folder.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use diag::Diagnostic;
use tar::{Builder, EntryType};

use crate::codes::IMAGE_WRITE;
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

/// The folder appears by one rename. The staging folder is next to it, because a rename does not cross file systems.
pub fn write_folder(files: &Files<'_>, dir: &Path) -> Result<()> {
    if dir.symlink_metadata().is_ok() {
        return Err(Diagnostic::new(&IMAGE_WRITE, "the OCI layout exists already")
            .file(dir)
            .expected("a path that does not exist")
            .hint(format!("rm -r '{}'", dir.display()))
            .into());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let staging = tempfile::Builder::new()
        .prefix(".oci-layout-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot create a staging folder in `{}`", parent.display()))?;
    let blobs = staging.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).with_context(|| format!("cannot create `{}`", blobs.display()))?;
    for (path, bytes) in files {
        let file = staging.path().join(path);
        fs::write(&file, bytes).with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    // Staging folders are private to their user; a layout is readable by others.
    fs::set_permissions(staging.path(), fs::Permissions::from_mode(0o755))
        .and_then(|()| fs::rename(staging.path(), dir))
        .with_context(|| format!("cannot rename the OCI layout to `{}`", dir.display()))?;
    // The folder was renamed; the guard must not remove it.
    let _renamed = staging.keep();
    Ok(())
}
