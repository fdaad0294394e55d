//! Decompression of one block by the method that its header names.

use std::fmt;
use std::io::Read;

use lzma_rust2::LzmaReader;

use crate::upx::error::DecompressError;
use crate::upx::nrv::{self, Variant};
use crate::upx::types::Block;

/// The decompressed bytes of a block, with its filter still applied.
pub(super) fn block(bytes: &[u8], block: &Block) -> Result<Vec<u8>, DecompressError> {
    let data = block.data(bytes).ok_or(DecompressError::InputEnds)?;
    if block.is_stored() {
        return Ok(data.to_vec());
    }
    let size_bytes = block.unpacked_size_bytes as usize;
    match block.method {
        2 => nrv::decompress(data, size_bytes, Variant::B),
        5 => nrv::decompress(data, size_bytes, Variant::D),
        8 => nrv::decompress(data, size_bytes, Variant::E),
        14 => lzma(data, size_bytes),
        method => Err(DecompressError::UnknownMethod(method)),
    }
}

/// UPX replaces the 13-byte LZMA header by two bytes: `(lc + lp) << 3 | pb` and `lp << 4 | lc`.
fn lzma(data: &[u8], size_bytes: usize) -> Result<Vec<u8>, DecompressError> {
    let [first, second, stream @ ..] = data else { return Err(DecompressError::InputEnds) };
    let (pb, lp, lc) = (u32::from(first & 7), u32::from(second >> 4), u32::from(second & 15));
    if lc + lp != u32::from(first >> 3) || lc > 8 || lp > 4 || pb > 4 {
        return Err(DecompressError::Lzma(format!("parameters {first:#04x} {second:#04x}")));
    }
    // Matches do not reach before the block, so the block size bounds the dictionary. Memory use then follows the declared
    // size, which is first compared with the size of the input.
    let wrap = |error: &dyn fmt::Display| DecompressError::Lzma(error.to_string());
    if size_bytes > data.len().saturating_mul(LZMA_RATIO_MAX) {
        return Err(DecompressError::TooLong { size_bytes: data.len().saturating_mul(LZMA_RATIO_MAX) });
    }
    let dictionary = u32::try_from(size_bytes).map_err(|error| wrap(&error))?.max(4096);
    let mut reader = LzmaReader::new(stream, size_bytes as u64, lc, lp, pb, dictionary, None)
        .map_err(|error| wrap(&error))?;
    let mut out = Vec::new();
    (&mut reader).take(size_bytes as u64).read_to_end(&mut out).map_err(|error| wrap(&error))?;
    match out.len() == size_bytes {
        true => Ok(out),
        false => Err(DecompressError::WrongSize {
            expected_bytes: size_bytes,
            found_bytes: out.len(),
            unused_bytes: 0,
        }),
    }
}

/// Upper bound of the LZMA ratio: a match has at most 273 bytes and costs at least a few hundredths of a bit.
const LZMA_RATIO_MAX: usize = 8192;
