//! SHA-256 digests in the form of OCI, and content that is addressed by them.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};

/// The folder of a layout that holds the blobs. OCI names the algorithm in the path.
const BLOBS: &str = "blobs/sha256";

/// Bytes that are addressed by their digest.
pub struct Blob {
    /// `sha256:` and 64 lower-case hex digits.
    pub digest: String,
    pub bytes: Vec<u8>,
}

impl Blob {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { digest: sha256(&bytes), bytes }
    }

    /// Path of the blob in a layout.
    pub fn path(&self) -> String {
        blob_path(&self.digest)
    }
}

/// `sha256:` and 64 lower-case hex digits.
pub fn sha256(bytes: &[u8]) -> String {
    finish(Sha256::new_with_prefix(bytes))
}

/// A reader that hashes what passes through it.
pub struct HashingReader<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> HashingReader<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, hasher: Sha256::new() }
    }

    /// Reads the rest; returns its size and the digest of everything that was read.
    pub fn drain(mut self) -> io::Result<(u64, String)> {
        let count = io::copy(&mut self, &mut io::sink())?;
        Ok((count, finish(self.hasher)))
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

fn finish(hasher: Sha256) -> String {
    let mut text = String::from("sha256:");
    for byte in hasher.finalize() {
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// The path of the blob with this digest.
pub fn blob_path(digest: &str) -> String {
    format!("{BLOBS}/{}", digest.trim_start_matches("sha256:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_no_bytes_is_the_published_one() {
        assert_eq!(sha256(b""), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
