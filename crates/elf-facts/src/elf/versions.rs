//! Symbol versions that a file requires of shared libraries.

use serde::Serialize;

/// A required version, such as `GLIBC_2.34` of `libc.so.6`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NeededVersion {
    /// Name of the library, as in `DT_NEEDED`.
    pub library: String,
    /// Name of the version.
    pub version: String,
}

/// Adds a version. Entries of this table are linked by offsets; the bound stops a table whose links form a cycle.
pub(super) fn push(
    found: &mut Vec<(String, String)>,
    table_bytes: u64,
    library: String,
    version: String,
) -> Result<(), String> {
    const ENTRY_BYTES: u64 = 16;
    if found.len() as u64 >= table_bytes / ENTRY_BYTES {
        return Err("the links of the version table form a cycle".into());
    }
    found.push((library, version));
    Ok(())
}
