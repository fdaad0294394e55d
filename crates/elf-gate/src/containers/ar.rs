//! Static libraries, and whatever else `ar` has packed.

use object::read::archive::ArchiveFile;

use super::{DAMAGED_HINT, DEPTH_HINT, Flow, Walk};

impl Walk<'_> {
    pub(super) fn ar(&mut self, name: &str, bytes: &[u8], depth: u32) {
        if depth >= self.limits.depth_max {
            let error = format!("containers are nested more than {} deep", self.limits.depth_max);
            return self.unreadable(name, error, DEPTH_HINT);
        }
        let archive = match ArchiveFile::parse(bytes) {
            Ok(archive) => archive,
            Err(error) => return self.unreadable(name, format!("ar archive: {error}"), DAMAGED_HINT),
        };
        if archive.is_thin() {
            let hint = "give the members themselves, or make a whole archive (`ar rcs` without `T`)";
            return self.unreadable(name, "a thin archive: its members lie in other files", hint);
        }
        for member in archive.members() {
            if self.enter(name) == Flow::Stop {
                return;
            }
            let read = member.and_then(|member| Ok((member.name(), member.data(bytes)?)));
            match read {
                Ok((member, data)) => {
                    let member = format!("{name}({})", String::from_utf8_lossy(member));
                    self.bytes(&member, data, depth + 1);
                }
                // The next member cannot be found.
                Err(error) => return self.unreadable(name, format!("ar archive: {error}"), DAMAGED_HINT),
            }
        }
    }
}
