//! The bytes of an input: files are mapped, streams are read.

use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;

use diag::Diagnostic;
use memmap2::Mmap;

use crate::codes;

/// The bytes of a file or stream.
pub enum InputBytes {
    /// The gate reads headers, tables and names, which are a small part of a large file.
    Mapped(Mmap),
    /// A stream.
    Read(Vec<u8>),
}

impl Deref for InputBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            InputBytes::Mapped(map) => map,
            InputBytes::Read(bytes) => bytes,
        }
    }
}

/// Bound of a stream; members of archives have the same bound.
const STREAM_BYTES_MAX: u64 = 1 << 30;

/// Maps a file, or reads it when it cannot be mapped.
pub fn file(path: &Path) -> Result<InputBytes, Diagnostic> {
    let list = || format!("list its folder: `ls -l {}`", path.display());
    let io = |error: std::io::Error| {
        Diagnostic::new(&codes::UNREADABLE, format!("cannot read `{}`", path.display()))
            .cause(error)
            .hint(list())
    };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if metadata.is_dir() {
        let message = format!("`{}` is a folder, expected a file", path.display());
        return Err(Diagnostic::new(&codes::UNREADABLE, message).hint("name the file"));
    }
    // Pipes, and files of procfs, which report a size of 0.
    if !metadata.is_file() || metadata.len() == 0 {
        return stream(&path.display().to_string(), file);
    }
    map(&file).map(InputBytes::Mapped).map_err(io)
}

#[expect(unsafe_code, reason = "a mapping avoids reading the unused parts of large files")]
fn map(file: &File) -> std::io::Result<Mmap> {
    // SAFETY: the map is private and read-only, and lives no longer than the judgement of the file. Files must not be written
    // while they are judged; if one shrinks, the process ends with SIGBUS, which is not a pass.
    unsafe { Mmap::map(file) }
}

/// Reads stdin.
pub(super) fn stdin() -> Result<InputBytes, Diagnostic> {
    stream("(stdin)", std::io::stdin().lock())
}

fn stream(name: &str, reader: impl Read) -> Result<InputBytes, Diagnostic> {
    let unreadable = |cause: String| {
        Diagnostic::new(&codes::UNREADABLE, format!("cannot read `{name}`"))
            .cause(cause)
            .hint("save it to a file and judge the file")
    };
    let mut bytes = Vec::new();
    reader
        .take(STREAM_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    match bytes.len() as u64 {
        size if size > STREAM_BYTES_MAX => Err(unreadable(format!("more than {STREAM_BYTES_MAX} bytes"))),
        _ => Ok(InputBytes::Read(bytes)),
    }
}
