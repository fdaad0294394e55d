//! The whole original file back from a packed one, in memory, without UPX.
//!
//! This is the independent half of the round trip: `upx -d` and the packer share their code, so a mistake in it could
//! hide itself. Both checksums that UPX keeps over the data are verified on the way.

use std::fmt;

use super::decompress::{self, DecompressError};
use super::{UpxFacts, filter};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnpackError {
    /// The layout does not fit together; the first problem found.
    Layout(String),
    /// The original would be larger than the caller is ready to hold.
    TooLarge {
        size_bytes: u64,
        limit_bytes: u64,
    },
    Block {
        offset: u64,
        error: DecompressError,
    },
    UnknownFilter {
        offset: u64,
        filter: u8,
    },
    IdleFilter {
        offset: u64,
        filter: u8,
    },
    Checksum {
        what: &'static str,
        expected: u32,
        found: u32,
    },
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Layout(problem) => write!(f, "the packed layout is damaged: {problem}"),
            UnpackError::TooLarge { size_bytes, limit_bytes } => {
                write!(f, "unpacked it would take {size_bytes} bytes, the limit is {limit_bytes}")
            }
            UnpackError::Block { offset, error } => write!(f, "the block at {offset} holds {error}"),
            UnpackError::UnknownFilter { offset, filter } => {
                write!(f, "the block at {offset} uses filter {filter:#04x}, which is not known here")
            }
            UnpackError::IdleFilter { offset, filter } => {
                write!(f, "the block at {offset} names filter {filter:#04x}, which changes nothing in it")
            }
            UnpackError::Checksum { what, expected, found } => {
                write!(f, "Adler-32 of the {what}: expected {expected:08x}, found {found:08x}")
            }
        }
    }
}

impl std::error::Error for UnpackError {}

/// `facts` are those of the same bytes.
pub fn unpack(bytes: &[u8], facts: &UpxFacts, limit_bytes: u64) -> Result<Vec<u8>, UnpackError> {
    if let Some(problem) = facts.problems.first() {
        return Err(UnpackError::Layout(problem.to_string()));
    }
    let (Some(program), Some(pack)) = (&facts.program, &facts.pack_header) else {
        return Err(UnpackError::Layout("a header is missing".into()));
    };
    let size_bytes = u64::from(program.file_size_bytes);
    let mut out = match usize::try_from(size_bytes) {
        Ok(size) if size_bytes <= limit_bytes => vec![0; size],
        _ => return Err(UnpackError::TooLarge { size_bytes, limit_bytes }),
    };
    let mut unpacked_adler = simd_adler32::Adler32::new();
    for block in &facts.blocks {
        let offset = block.offset;
        let mut data =
            decompress::block(bytes, block).map_err(|error| UnpackError::Block { offset, error })?;
        if block.filter != 0 {
            let filter = block.filter;
            let undone = filter::undo(&mut data, filter, block.filter_cto);
            let changed = undone.ok_or(UnpackError::UnknownFilter { offset, filter })?;
            // UPX names no filter that did nothing: somebody else wrote that byte.
            changed.then_some(()).ok_or(UnpackError::IdleFilter { offset, filter })?;
        }
        unpacked_adler.write(&data);
        let start = block.output_offset as usize;
        let place = out.get_mut(start..start.saturating_add(data.len()));
        let place = place
            .ok_or_else(|| UnpackError::Layout(format!("the block at {offset} lies outside of the file")))?;
        place.copy_from_slice(&data);
    }
    let compressed = facts.compressed_adler_found.unwrap_or_default();
    check("compressed data", pack.compressed_adler, compressed)?;
    check("unpacked data", pack.unpacked_adler, unpacked_adler.finish())?;
    Ok(out)
}

fn check(what: &'static str, expected: u32, found: u32) -> Result<(), UnpackError> {
    if expected == found { Ok(()) } else { Err(UnpackError::Checksum { what, expected, found }) }
}
