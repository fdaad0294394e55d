//! Files that appear complete or not at all: written to a temporary file, then renamed.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::write_error::cannot_write;

/// Calls `fill` with a temporary file in the folder of `path`, then renames it to `path`.
pub fn write(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut std::fs::File) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().context("an output without a parent folder")?;
    std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, error))?;
    let mut staged = tempfile::Builder::new()
        .prefix(".staging-")
        .tempfile_in(folder)
        .map_err(|error| cannot_write(folder, error))?;
    fill(staged.as_file_mut())?;
    staged.as_file_mut().flush().map_err(|error| cannot_write(path, error))?;
    staged.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    staged.persist(path).map_err(|error| cannot_write(path, error.error))?;
    Ok(())
}

/// Writes `content` to `path`.
pub fn bytes(path: &Path, mode: u32, content: &[u8]) -> anyhow::Result<()> {
    write(path, mode, |file| file.write_all(content).map_err(|error| cannot_write(path, error)))
}

/// Copies a file with its permissions.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mut source = std::fs::File::open(from).with_context(|| format!("opening {}", from.display()))?;
    let mode = source.metadata()?.permissions().mode() & 0o777;
    write(to, mode, |file| {
        std::io::copy(&mut source, file).map(|_| ()).map_err(|error| cannot_write(to, error))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_keeps_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        bytes(&path, 0o644, b"old").unwrap();
        let failed = write(&path, 0o644, |file| {
            file.write_all(b"half")?;
            anyhow::bail!("it failed")
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");
    }
}
