//! Errors of writes, with the hint for each kind.

use std::io::{Error, ErrorKind};
use std::path::Path;

use diag::Diagnostic;

use crate::codes::CANNOT_WRITE;

/// The error of a failed write to `path`.
pub fn cannot_write(path: &Path, error: Error) -> anyhow::Error {
    let hint = match error.kind() {
        ErrorKind::StorageFull => diag::DISK_FULL.sections[1].1,
        ErrorKind::PermissionDenied => "name a folder with write permission: `--cache-dir`, `--dist-dir`",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a file is where a folder should be: move it, or name another folder: `--cache-dir`, `--dist-dir`"
        }
        ErrorKind::ReadOnlyFilesystem => "name a folder on a writable disk",
        _ => {
            "`df -h` and `ls -ld` on the folder show more; `--cache-dir` and `--dist-dir` name other folders"
        }
    };
    Diagnostic::new(&CANNOT_WRITE, format!("cannot write {}: {error}", path.display())).hint(hint).into()
}
