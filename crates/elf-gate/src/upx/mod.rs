//! What UPX wraps around an ELF file, read from the bytes and believed nowhere.
//!
//! The outer headers of a packed file prove nothing about run time: the stub hands the *decompressed* program headers
//! to the libc. So [`detect`] reads the layout, recomputes every checksum that it holds (UPX itself never checks the
//! stub's), and decompresses the first block, where the original headers are. [`unpack`] gives the whole original
//! back, which costs as much as it sounds and is only done on request.
//!
//! Deliberately absent: running the file, and believing `upx -t` (it passes files that crash).

mod decompress;
mod filter;
mod layout;
mod nrv;
mod outer;
mod problem;
mod unpack;

use serde::Serialize;

pub use layout::detect;
pub use problem::{Part, Problem};
pub use unpack::{UnpackError, unpack};

use crate::facts::{Header, Segment};

/// The layout of a packed file. Numbers are as stored, next to what the bytes give.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UpxFacts {
    pub loader: Option<LoaderInfo>,
    pub program: Option<ProgramInfo>,
    /// Every compressed block in file order: headers, segments, gaps.
    pub blocks: Vec<Block>,
    pub pack_header: Option<PackHeader>,
    /// Adler-32 over the compressed blocks, to compare with [`PackHeader::compressed_adler`].
    pub compressed_adler_found: Option<u32>,
    /// The original headers, which are what the program sees when it runs; or why they cannot be read.
    pub inner: Inner,
    /// Everything that does not fit together. Empty for a file as UPX wrote it.
    pub problems: Vec<Problem>,
}

/// `l_info`: the loader's (stub's) header, right behind the outer program headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoaderInfo {
    pub offset: u64,
    pub stub_adler: u32,
    /// Adler-32 of the stub as it is in the file; nothing when its place cannot be told.
    pub stub_adler_found: Option<u32>,
    pub stub_size_bytes: u16,
    pub version: u8,
    pub format: u8,
}

/// `p_info`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramInfo {
    pub file_size_bytes: u32,
    pub block_size_bytes: u32,
}

/// `b_info` and where its data are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    pub offset: u64,
    /// Where its bytes go in the original file.
    pub output_offset: u64,
    pub unpacked_size_bytes: u32,
    pub packed_size_bytes: u32,
    pub method: u8,
    pub filter: u8,
    pub filter_cto: u8,
}

impl Block {
    pub(crate) const HEADER_BYTES: u64 = 12;

    pub fn is_stored(&self) -> bool {
        self.packed_size_bytes == self.unpacked_size_bytes
    }

    pub(crate) fn data<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset + Self::HEADER_BYTES).ok()?;
        bytes.get(start..start.checked_add(self.packed_size_bytes as usize)?)
    }

    fn end(&self) -> u64 {
        self.offset + Self::HEADER_BYTES + u64::from(self.packed_size_bytes)
    }
}

/// The trailer: PackHeader and the offset that follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackHeader {
    pub version: u8,
    pub format: u8,
    pub method: u8,
    pub level: u8,
    pub unpacked_adler: u32,
    pub compressed_adler: u32,
    pub unpacked_size_bytes: u32,
    pub compressed_size_bytes: u32,
    pub file_size_bytes: u32,
    pub checksum: u8,
    pub checksum_found: u8,
    pub overlay_offset: u32,
}

/// What the first block holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Inner {
    Read(InnerHeaders),
    Unreadable(Problem),
}

impl Inner {
    pub fn headers(&self) -> Option<&InnerHeaders> {
        match self {
            Inner::Read(headers) => Some(headers),
            Inner::Unreadable(_) => None,
        }
    }
}

/// Formats, as UPX numbers them.
pub(crate) const LINUX_AMD64: u8 = 22;
pub(crate) const LINUX_ARM64: u8 = 42;

/// The program headers that the running program gets to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InnerHeaders {
    pub header: Header,
    pub segments: Vec<Segment>,
}

pub fn method_name(method: u8) -> String {
    let name = match method {
        0 => "stored",
        2 => "NRV2B",
        5 => "NRV2D",
        8 => "NRV2E",
        14 => "LZMA",
        other => return format!("method {other}"),
    };
    name.into()
}

fn u32_at(bytes: &[u8], offset: u64) -> Option<u32> {
    let start = usize::try_from(offset).ok()?;
    Some(u32::from_le_bytes(bytes.get(start..start.checked_add(4)?)?.try_into().ok()?))
}

fn adler32(bytes: &[u8]) -> u32 {
    simd_adler32::adler32(&bytes)
}
