//! Tar entries whose headers do not depend on the machine.

use anyhow::{Result, ensure};
use tar::{Builder, EntryType, Header};

/// The size field of the header has 11 octal digits; beyond that the tar crate would use a GNU extension.
const ENTRY_BYTES_MAX: usize = 0o77_777_777_777;

/// Appends an entry. Its header has the arguments and constants: owner root without a name, time 1970-01-01.
pub fn append<W: std::io::Write>(
    archive: &mut Builder<W>,
    name: &str,
    kind: EntryType,
    mode: u32,
    bytes: &[u8],
) -> Result<()> {
    ensure!(bytes.len() <= ENTRY_BYTES_MAX, "{} bytes; at most {ENTRY_BYTES_MAX} fit", bytes.len());
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_path(name)?;
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes.len() as u64);
    header.set_cksum();
    archive.append(&header, bytes)?;
    Ok(())
}
