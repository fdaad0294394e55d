//! Files by their bytes: every read compares the digest that was recorded first.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use anyhow::Context;
use diag::Diagnostic;
use serde::Serialize;
use store::Digest;

use crate::codes::ARTIFACT_CHANGED;

/// A file and the digest of its bytes. Stages hand artifacts over; [`Artifact::read`] returns the bytes of the digest, and
/// [`Artifact::verify`] fails when the bytes on disk are other ones.
///
/// The bytes stay in memory from the first read on. A linked file of 47 MiB was hashed five times in a run before, and SHA-256
/// was half of the CPU time of a run with nothing to compile.
///
/// The digest is always computed from the bytes:
///
/// ```compile_fail,E0451
/// fn forge(sha256: store::Digest) -> release::artifact::Artifact {
///     release::artifact::Artifact { path: "file".into(), sha256, size_bytes: 0, bytes: Default::default() }
/// }
/// ```
#[derive(Clone, Serialize)]
pub struct Artifact {
    #[serde(skip)]
    path: PathBuf,
    sha256: Digest,
    size_bytes: u64,
    /// Compared with the digest before it is set; clones share it.
    #[serde(skip)]
    bytes: Arc<OnceLock<Vec<u8>>>,
}

impl Artifact {
    /// Reads the file and records its digest.
    pub fn of(path: impl Into<PathBuf>) -> anyhow::Result<Self> {
        let path = path.into();
        let bytes = read(&path)?;
        Ok(Self {
            sha256: Digest::of(&bytes),
            size_bytes: bytes.len() as u64,
            path,
            bytes: Arc::new(bytes.into()),
        })
    }

    /// A key file of a cache entry. The store compared it with this digest when it opened the entry.
    pub(crate) fn of_entry(entry: &store::CacheEntry, file: &str) -> anyhow::Result<Self> {
        let path = entry.path.join(file);
        let sha256 =
            entry.record.files.get(file).with_context(|| format!("{file} is not a key file of its entry"))?;
        let size_bytes = path.metadata().with_context(|| format!("reading {}", path.display()))?.len();
        Ok(Self { sha256: sha256.clone(), size_bytes, path, bytes: Arc::default() })
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Digest of the bytes.
    pub fn sha256(&self) -> &Digest {
        &self.sha256
    }

    /// Size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The bytes of the digest; an error when the file has other ones at the first read.
    pub fn read(&self) -> anyhow::Result<&[u8]> {
        if let Some(bytes) = self.bytes.get() {
            return Ok(bytes);
        }
        let bytes = read(&self.path)?;
        self.compare(Digest::of(&bytes))?;
        Ok(self.bytes.get_or_init(|| bytes))
    }

    /// Reads the file again and compares the digest: before and after another program reads the file by its path.
    pub fn verify(&self) -> anyhow::Result<()> {
        self.compare(Digest::of_file(&self.path)?)
    }

    fn compare(&self, found: Digest) -> anyhow::Result<()> {
        if found == self.sha256 {
            return Ok(());
        }
        Err(Diagnostic::new(&ARTIFACT_CHANGED, "the file changed after it was judged")
            .file(&self.path)
            .expected(format!("sha256 {}", self.sha256))
            .found(format!("sha256 {found}"))
            .hint("end other programs that write to this folder, then run the command again")
            .into())
    }
}

impl PartialEq for Artifact {
    fn eq(&self, other: &Self) -> bool {
        (&self.path, &self.sha256) == (&other.path, &other.sha256)
    }
}

impl Eq for Artifact {}

impl std::fmt::Debug for Artifact {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, sha256, size_bytes, bytes: _ } = self;
        write!(f, "Artifact({}, {size_bytes} bytes, sha256 {sha256})", path.display())
    }
}

/// The bytes of a file; errors name it.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_bytes_that_changed_after_the_digest_was_recorded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "judged").unwrap();
        let artifact = Artifact::of(&path).unwrap();
        let unread = Artifact { bytes: Arc::default(), ..artifact.clone() };
        assert_eq!(artifact.read().unwrap(), b"judged");
        artifact.verify().unwrap();
        std::fs::write(&path, "edited").unwrap();
        for error in
            [unread.read().unwrap_err(), unread.verify().unwrap_err(), artifact.verify().unwrap_err()]
        {
            assert!(diag::has_code(&error, &ARTIFACT_CHANGED), "{error:#}");
        }
        assert_eq!(artifact.read().unwrap(), b"judged", "never other bytes than those of the digest");
    }
}
