//! The structures of a packed file.

use serde::Serialize;

use crate::elf::types::{Header, Segment};
use crate::upx::problem::UpxProblem;

/// The layout of a packed file: stored values, and the values recomputed from the bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UpxFacts {
    /// `l_info`.
    pub loader: Option<LoaderInfo>,
    /// `p_info`.
    pub program: Option<ProgramInfo>,
    /// Every compressed block in file order: headers, segments, gaps.
    pub blocks: Vec<Block>,
    /// The trailer.
    pub pack_header: Option<PackHeader>,
    /// Adler-32 over the compressed blocks, to compare with [`PackHeader::compressed_adler`].
    pub compressed_adler_found: Option<u32>,
    /// The original headers, which the libc uses at run time.
    pub inner: Inner,
    /// Inconsistencies. Empty for an unmodified output of UPX.
    pub problems: Vec<UpxProblem>,
}

/// `l_info`: the header of the stub, directly after the outer program headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LoaderInfo {
    /// File offset.
    pub offset: u64,
    /// `l_checksum`: stored Adler-32 of the stub.
    pub stub_adler: u32,
    /// Adler-32 of the stub in the file; `None` when its position is unknown.
    pub stub_adler_found: Option<u32>,
    /// `l_lsize`.
    pub stub_size_bytes: u16,
    /// `l_version`: 13 for UPX 3.9x, 14 for 4.x.
    pub version: u8,
    /// `l_format`.
    pub format: u8,
}

/// `p_info`: sizes of the original.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProgramInfo {
    /// Size of the original file.
    pub file_size_bytes: u32,
    /// Upper bound of the size of a block.
    pub block_size_bytes: u32,
}

/// `b_info` and the position of its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    /// File offset of the header.
    pub offset: u64,
    /// Offset of the data in the original file.
    pub output_offset: u64,
    /// `sz_unc`.
    pub unpacked_size_bytes: u32,
    /// `sz_cpr`.
    pub packed_size_bytes: u32,
    /// `b_method`.
    pub method: u8,
    /// `b_ftid`.
    pub filter: u8,
    /// `b_cto8`: the byte that marks filtered operands.
    pub filter_cto: u8,
}

impl Block {
    pub(super) const HEADER_BYTES: u64 = 12;

    /// Whether the data are not compressed.
    pub fn is_stored(&self) -> bool {
        self.packed_size_bytes == self.unpacked_size_bytes
    }

    /// The compressed data; `None` when they end beyond the file.
    pub(super) fn data<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(self.offset + Self::HEADER_BYTES).ok()?;
        bytes.get(start..start.checked_add(self.packed_size_bytes as usize)?)
    }

    /// File offset after the data.
    pub(super) fn end(&self) -> u64 {
        self.offset + Self::HEADER_BYTES + u64::from(self.packed_size_bytes)
    }
}

/// The trailer: `PackHeader` and the overlay offset that follows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackHeader {
    /// Layout number, as in `l_info`.
    pub version: u8,
    /// Executable format, as in `l_info`.
    pub format: u8,
    /// Compression method.
    pub method: u8,
    /// Compression level.
    pub level: u8,
    /// `u_adler`.
    pub unpacked_adler: u32,
    /// `c_adler`.
    pub compressed_adler: u32,
    /// `u_len`.
    pub unpacked_size_bytes: u32,
    /// `c_len`.
    pub compressed_size_bytes: u32,
    /// `u_file_size`.
    pub file_size_bytes: u32,
    /// Stored checksum of the header.
    pub checksum: u8,
    /// Checksum of the header in the file.
    pub checksum_found: u8,
    /// File offset of `p_info`.
    pub overlay_offset: u32,
}

/// Contents of the first block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Inner {
    /// The headers.
    Read(InnerHeaders),
    /// Why they cannot be read.
    Unreadable(UpxProblem),
}

impl Inner {
    /// The headers, if they can be read.
    pub fn headers(&self) -> Option<&InnerHeaders> {
        match self {
            Inner::Read(headers) => Some(headers),
            Inner::Unreadable(_) => None,
        }
    }
}

/// The headers that the libc of the running program uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InnerHeaders {
    /// Original ELF header.
    pub header: Header,
    /// Original program headers.
    pub segments: Vec<Segment>,
}
