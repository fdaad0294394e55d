//! Files that appear whole or not at all: written beside their final name, then renamed onto it.

use std::io::Write;
use std::path::Path;

use anyhow::Context;

use crate::cannot_write;

/// Writes through `fill` into a nameless neighbour of `path`, makes it durable, and gives it the name.
pub fn write(
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut std::fs::File) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().context("an output without a folder")?;
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

pub fn bytes(path: &Path, mode: u32, content: &[u8]) -> anyhow::Result<()> {
    write(path, mode, |file| file.write_all(content).map_err(|error| cannot_write(path, error)))
}

/// A copy with the permissions of its original.
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
    fn a_failed_write_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        bytes(&path, 0o644, b"old").unwrap();
        let failed = write(&path, 0o644, |file| {
            file.write_all(b"half")?;
            anyhow::bail!("no luck")
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a staged file was left");
    }
}
