//! Bytes of inputs: mapped where there is a file, read where there is a stream.

use std::fs::File;
use std::io::Read;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;
use sha2::{Digest, Sha256};

/// Why a file cannot be judged.
pub struct Unreadable {
    pub error: String,
    pub hint: String,
}

pub enum Bytes {
    /// The gate looks at headers, tables and names, which are a small part of a large file.
    Mapped(Mmap),
    Read(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Read(bytes) => bytes,
        }
    }
}

/// Stops a stream that never ends; it is as much as a member of an archive may have.
const STREAM_BYTES_MAX: u64 = 1 << 30;

pub fn file(path: &Path) -> Result<Bytes, Unreadable> {
    let io = |error: std::io::Error| Unreadable {
        error: format!("cannot read `{}`: {error}", path.display()),
        hint: format!("`ls -l {}` shows what is there", path.display()),
    };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if metadata.is_dir() {
        return Err(Unreadable {
            error: format!("`{}` is a folder, expected an ELF file", path.display()),
            hint: "name the file".into(),
        });
    }
    // Pipes, and files of procfs that hold more than their size says.
    if !metadata.is_file() || metadata.len() == 0 {
        return stream(&path.display().to_string(), file);
    }
    // SAFETY: the map is private and read-only, and lives no longer than this verb. Nobody else writes to a file that is
    // being judged; should one shrink meanwhile, the process ends by SIGBUS, which is no pass.
    unsafe { Mmap::map(&file) }.map(Bytes::Mapped).map_err(io)
}

pub fn stdin() -> Result<Bytes, Unreadable> {
    stream("(stdin)", std::io::stdin().lock())
}

fn stream(name: &str, reader: impl Read) -> Result<Bytes, Unreadable> {
    let unreadable = |why: String| Unreadable {
        error: format!("cannot read `{name}`: {why}"),
        hint: "save it to a file and judge that".into(),
    };
    let mut bytes = Vec::new();
    reader
        .take(STREAM_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(error.to_string()))?;
    match bytes.len() as u64 {
        size if size > STREAM_BYTES_MAX => Err(unreadable(format!("more than {STREAM_BYTES_MAX} bytes"))),
        _ => Ok(Bytes::Read(bytes)),
    }
}

pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
