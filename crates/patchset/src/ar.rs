//! Members of a static archive.

use anyhow::Result;
use diag::Diagnostic;
use object::read::archive::{ArchiveFile, ArchiveMember};

use crate::codes::ARCHIVE_UNREADABLE;

/// Calls `visit` with each member and its bytes.
pub(crate) fn for_each_member<'a>(
    archive: &'a [u8],
    mut visit: impl FnMut(&ArchiveMember<'a>, &'a [u8]) -> Result<()>,
) -> Result<()> {
    let unreadable = |error: object::Error| {
        Diagnostic::new(&ARCHIVE_UNREADABLE, "a static archive cannot be read").cause(error)
    };
    let file = ArchiveFile::parse(archive).map_err(unreadable)?;
    if file.is_thin() {
        return Err(Diagnostic::new(&ARCHIVE_UNREADABLE, "a thin archive holds no code").into());
    }
    for member in file.members() {
        let member = member.map_err(unreadable)?;
        visit(&member, member.data(archive).map_err(unreadable)?)?;
    }
    Ok(())
}

/// Name and bytes of each member.
pub(crate) fn members(archive: &[u8]) -> Result<Vec<(Vec<u8>, &[u8])>> {
    let mut members = Vec::new();
    for_each_member(archive, |member, data| {
        members.push((member.name().to_vec(), data));
        Ok(())
    })?;
    Ok(members)
}
