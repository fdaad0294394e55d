//! The two files that give the numeric user of a scratch image a name.
//!
//! The kernel needs neither. They are there for programs that ask who they are (`getpwuid`), and because some scanners
//! report a user without an entry.

use anyhow::{Context, Result};

use crate::spec::{ImageFile, numeric_user};

/// `/etc/passwd` and `/etc/group` with root and one user who owns nothing, has no home and no shell.
pub fn account_files(user: &str, name: &str) -> Result<[ImageFile; 2]> {
    let (uid, gid) = numeric_user(user).with_context(|| {
        format!("user `{user}`: expected UID:GID, both numbers\nhint: 65532:65532 is the usual non-root user of scratch images")
    })?;
    let is_name =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    anyhow::ensure!(is_name, "user name `{name}`: expected a-z 0-9 -\nhint: `nonroot` is the usual name");
    // `/nonexistent` and a shell that is not there: nobody logs in to this image.
    let passwd =
        format!("root:x:0:0:root:/nonexistent:/nologin\n{name}:x:{uid}:{gid}:{name}:/nonexistent:/nologin\n");
    let group = format!("root:x:0:\n{name}:x:{gid}:\n");
    Ok([
        ImageFile::from_bytes("/etc/group", 0o444, group),
        ImageFile::from_bytes("/etc/passwd", 0o444, passwd),
    ])
}
