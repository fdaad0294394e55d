//! Formats, detected by their first bytes. File names and suffixes are not trusted.

use std::fmt;

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// ELF magic number.
    Elf,
    /// A static library or a Debian package.
    Ar,
    /// A tar header.
    Tar,
    /// A gzip member.
    Gzip,
    /// An xz stream.
    Xz,
    /// A Zstandard frame.
    Zstd,
    /// A bzip2 stream.
    Bzip2,
    /// None of these.
    Other,
}

/// Size of a tar header; the other formats need fewer bytes.
pub(super) const HEAD_BYTES: usize = 512;

impl Format {
    /// The format of data that start with `bytes`.
    pub fn of(bytes: &[u8]) -> Format {
        match bytes {
            [0x7f, b'E', b'L', b'F', ..] => Format::Elf,
            [0x1f, 0x8b, 8, ..] => Format::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Format::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', b'1', b'A', b'Y', ..] => Format::Bzip2,
            _ if bytes.starts_with(b"!<arch>\n") || bytes.starts_with(b"!<thin>\n") => Format::Ar,
            _ if is_tar(bytes) => Format::Tar,
            _ => Format::Other,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Elf => "ELF",
            Format::Ar => "ar",
            Format::Tar => "tar",
            Format::Gzip => "gzip",
            Format::Xz => "xz",
            Format::Zstd => "zstd",
            Format::Bzip2 => "bzip2",
            Format::Other => "other",
        })
    }
}

/// By magic number or header checksum: the oldest tar files have no magic number, and a file with a magic number and a wrong
/// checksum is a damaged tar file.
fn is_tar(bytes: &[u8]) -> bool {
    let Some(header) = bytes.first_chunk::<HEAD_BYTES>() else { return false };
    if &header[257..262] == b"ustar" {
        return true;
    }
    let stored = header[148..156].iter().skip_while(|&&byte| byte == b' ');
    let stored = stored.take_while(|byte| matches!(byte, b'0'..=b'7'));
    let stored = stored.fold(0u64, |sum, &digit| sum * 8 + u64::from(digit - b'0'));
    let (before, after) = (header[..148].iter(), header[156..].iter());
    let sum: u64 = before.chain(after).map(|&byte| u64::from(byte)).sum::<u64>() + 8 * u64::from(b' ');
    stored == sum
}
