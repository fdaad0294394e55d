//! Versions of symbols that a file asks shared libraries for.

use serde::Serialize;

/// Such as `GLIBC_2.34` of `libc.so.6`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NeededVersion {
    pub library: String,
    pub version: String,
}

/// Adds one. The entries of such a table are linked by offsets: one that runs in a circle would never end.
pub(super) fn push(
    found: &mut Vec<(String, String)>,
    table_bytes: u64,
    library: String,
    version: String,
) -> Result<(), String> {
    const ENTRY_BYTES: u64 = 16;
    if found.len() as u64 >= table_bytes / ENTRY_BYTES {
        return Err("the table of needed versions runs in a circle".into());
    }
    found.push((library, version));
    Ok(())
}
