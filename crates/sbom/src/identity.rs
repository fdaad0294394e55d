//! Identities: of a document a UUID of version 8 (RFC 9562), out of the digest of everything else in it; of a part its id in SPDX.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// `xxxxxxxx-xxxx-8xxx-axxx-xxxxxxxxxxxx`, lower case.
pub(crate) fn uuid(text: &[u8]) -> String {
    let mut bytes: [u8; 16] = Sha256::digest(text)[..16].try_into().expect("32 bytes of a digest");
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut id = String::new();
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            id.push('-');
        }
        write!(id, "{byte:02x}").expect("a string takes any text");
    }
    id
}

/// An id of SPDX has letters, digits, `.` and `-` only.
pub(crate) fn spdx_id(id: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    format!("SPDXRef-{}", id.chars().map(plain).collect::<String>())
}

#[cfg(test)]
mod tests {
    #[test]
    fn has_version_and_variant_and_follows_the_text() {
        let (one, other) = (super::uuid(b"one"), super::uuid(b"other"));
        assert_ne!(one, other);
        assert_eq!(one, super::uuid(b"one"));
        assert_eq!((one.len(), &one[14..15]), (36, "8"));
        assert!(["8", "9", "a", "b"].contains(&&one[19..20]), "{one}");
    }
}
