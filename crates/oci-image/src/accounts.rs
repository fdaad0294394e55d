//! The numeric user of an image, and the two files that give it a name.
//!
//! The kernel needs no names. They are for programs that call `getpwuid`, and for scanners that report a user without an
//! entry.

use diag::Diagnostic;

use crate::codes::IMAGE_SPEC;
use crate::spec::ImageFile;

/// `/etc/passwd` and `/etc/group` with root and one user without files, home or shell.
///
/// ```
/// let [group, passwd] = oci_image::account_files("65532:65532", "nonroot")?;
/// assert_eq!((group.path.as_str(), passwd.path.as_str()), ("/etc/group", "/etc/passwd"));
/// # Ok::<(), diag::Diagnostic>(())
/// ```
pub fn account_files(user: &str, name: &str) -> Result<[ImageFile; 2], Diagnostic> {
    let (uid, gid) = numeric_user(user).ok_or_else(|| invalid_user(user))?;
    let is_name =
        !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !is_name {
        return Err(Diagnostic::new(&IMAGE_SPEC, format!("the user name `{name}` is invalid"))
            .expected("a-z 0-9 -")
            .hint("`nonroot` is the usual name"));
    }
    // No home and no shell: there is no login.
    let passwd =
        format!("root:x:0:0:root:/nonexistent:/nologin\n{name}:x:{uid}:{gid}:{name}:/nonexistent:/nologin\n");
    let group = format!("root:x:0:\n{name}:x:{gid}:\n");
    Ok([
        ImageFile::from_bytes("/etc/group", 0o444, group),
        ImageFile::from_bytes("/etc/passwd", 0o444, passwd),
    ])
}

/// `UID:GID` as numbers.
pub fn numeric_user(user: &str) -> Option<(u32, u32)> {
    let (uid, gid) = user.split_once(':')?;
    let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    Some((number(uid)?, number(gid)?))
}

/// The problem of a user that [`numeric_user`] cannot parse.
pub fn invalid_user(user: &str) -> Diagnostic {
    Diagnostic::new(&IMAGE_SPEC, format!("the user `{user}` is invalid"))
        .expected("UID:GID, both numbers")
        .hint("65532:65532 is the usual non-root user of scratch images")
}
