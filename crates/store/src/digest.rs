//! SHA-256 of files and of fingerprints. Digests name artifacts, cache entries and tools.

use std::fmt;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256, as 64 lower-case hex digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256_hex(bytes))
    }

    /// The digest of the content of a file.
    pub fn of_file(path: &Path) -> anyhow::Result<Self> {
        let mut file = std::fs::File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file.read(&mut buffer).with_context(|| format!("reading {}", path.display()))?;
            if read == 0 {
                return Ok(Self(hex(&hasher.finalize())));
            }
            hasher.update(&buffer[..read]);
        }
    }

    /// `None` unless `text` is 64 lower-case hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        is_sha256_hex(text).then(|| Self(text.into()))
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 16 digits, for folder names.
    pub fn short(&self) -> &str {
        &self.0[..16]
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The digest of `bytes`, as 64 lower-case hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Whether `text` is 64 lower-case hex digits. A shortened or upper-case digest would never match.
pub fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The digest of all inputs of a build: labelled parts, each with its length, so that text cannot move from one part to the next
/// without changing the digest.
#[derive(Default)]
pub struct Fingerprint {
    hasher: Sha256,
    parts: Vec<(String, String)>,
}

impl Fingerprint {
    /// Adds an input.
    pub fn part(&mut self, label: &str, value: impl fmt::Display) -> &mut Self {
        let value = value.to_string();
        for text in [label, &value] {
            self.hasher.update((text.len() as u64).to_le_bytes());
            self.hasher.update(text);
        }
        self.parts.push((label.into(), value));
        self
    }

    /// The digest of all parts.
    pub fn digest(&self) -> Digest {
        Digest(hex(&self.hasher.clone().finalize()))
    }

    /// All parts as text, to be kept beside a cache entry: a diff of two lists shows why two builds differ.
    pub fn listing(&self) -> String {
        self.parts.iter().map(|(label, value)| format!("{label}: {value}\n")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_parts_with_the_same_text() {
        let digest = |parts: &[(&str, &str)]| {
            let mut fingerprint = Fingerprint::default();
            for (label, value) in parts {
                fingerprint.part(label, value);
            }
            fingerprint.digest()
        };
        assert_ne!(digest(&[("a", "bc")]), digest(&[("ab", "c")]));
        assert_ne!(digest(&[("a", "b"), ("c", "d")]), digest(&[("a", "b"), ("c", ""), ("d", "")]));
        assert_eq!(digest(&[("a", "b")]), digest(&[("a", "b")]));
    }

    #[test]
    fn digests_the_content_of_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "abc").unwrap();
        let known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of_file(&path).unwrap().as_str(), known);
        assert_eq!(Digest::of(b"abc").as_str(), known);
        assert!(is_sha256_hex(known) && !is_sha256_hex(&known[1..]) && !is_sha256_hex(&known.to_uppercase()));
    }
}
