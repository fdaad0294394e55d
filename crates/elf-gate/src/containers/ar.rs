//! Members of `ar` archives: static libraries and Debian packages.

use object::read::archive::ArchiveFile;

use crate::codes;
use crate::containers::sink::{Sink, problem};

/// Hands each member to the sink.
pub(super) fn read(sink: &mut dyn Sink, name: &str, bytes: &[u8], depth: u32) {
    let damaged =
        |error: object::read::Error| problem(&codes::CONTAINER_DAMAGED, format!("ar archive: {error}"));
    let archive = match ArchiveFile::parse(bytes) {
        Ok(archive) => archive,
        Err(error) => return sink.unreadable(name, damaged(error)),
    };
    if archive.is_thin() {
        let thin = problem(&codes::UNSUPPORTED_FORMAT, "a thin archive: its members are in other files")
            .hint("judge the members, or create a regular archive (`ar rcs` without `T`)");
        return sink.unreadable(name, thin);
    }
    for member in archive.members() {
        if sink.enter(name).is_break() {
            return;
        }
        let read = member.and_then(|member| Ok((member.name(), member.data(bytes)?)));
        match read {
            Ok((member, data)) => {
                let member = format!("{name}({})", String::from_utf8_lossy(member));
                sink.bytes(&member, data, depth + 1);
            }
            // The position of the next member is unknown.
            Err(error) => return sink.unreadable(name, damaged(error)),
        }
    }
}
