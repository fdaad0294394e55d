//! The digest of the unpacked file: by the decompressors of the gate, or by UPX for other methods.

use std::process::Command;

use elf_facts::facts::Facts;
use elf_facts::upx::{self, UnpackError};
use sha2::{Digest, Sha256};

/// Larger originals are rejected; the header of a packed file can declare up to 4 GiB.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// `None` when the file is not packed, or when neither the gate nor UPX can unpack it.
pub(super) fn unpacked_sha256(bytes: &[u8], facts: &Facts) -> Option<Result<String, String>> {
    match upx::unpack(bytes, facts.upx.as_ref()?, UNPACKED_BYTES_MAX) {
        Ok(original) => Some(Ok(sha256_hex(&original))),
        // UPX would unpack these files without an error.
        Err(
            error @ (UnpackError::Layout(_)
            | UnpackError::IdleFilter { .. }
            | UnpackError::Checksum { .. }
            | UnpackError::TooLarge { .. }),
        ) => Some(Err(error.to_string())),
        // UPX may support a method that the gate does not.
        Err(error) => Some(unpack_with_upx(bytes)?.map_err(|upx| format!("{error}; {upx}"))),
    }
}

/// `None` when UPX is not installed.
fn unpack_with_upx(bytes: &[u8]) -> Option<Result<String, String>> {
    let exists = |name: &&str| Command::new(name).env_remove("UPX").arg("--version").output().is_ok();
    let upx = ["upx", "upx-ucl"].into_iter().find(exists)?;
    let unpack = || -> std::io::Result<Result<String, String>> {
        let folder = tempfile::tempdir()?;
        let (packed, out) = (folder.path().join("packed"), folder.path().join("unpacked"));
        std::fs::write(&packed, bytes)?;
        let run = Command::new(upx).env_remove("UPX").args(["-qqd", "-o"]).arg(&out).arg(&packed).output()?;
        if !run.status.success() {
            let message = String::from_utf8_lossy(&run.stderr).trim().to_string();
            return Ok(Err(format!("`{upx} -d -o OUT FILE`: {message}")));
        }
        Ok(Ok(sha256_hex(&std::fs::read(&out)?)))
    };
    Some(unpack().unwrap_or_else(|error| Err(error.to_string())))
}

/// Lower-case hexadecimal digits.
pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    elf_facts::bytes::hex(&Sha256::digest(bytes))
}
