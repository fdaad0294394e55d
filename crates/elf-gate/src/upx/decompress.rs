//! One block of a packed file, decompressed by the method that its header names.

use std::fmt;
use std::io::Read;

use lzma_rust2::LzmaReader;

use super::nrv::{self, Variant};
use super::{Block, method_name};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecompressError {
    InputEnds,
    BadOffset,
    BadLength,
    TooLong { size_bytes: usize },
    WrongSize { expected_bytes: usize, found_bytes: usize, unused_bytes: usize },
    Lzma(String),
    UnknownMethod(u8),
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecompressError::InputEnds => f.write_str("compressed data that end too early"),
            DecompressError::BadOffset => f.write_str("a match before the start of the data"),
            DecompressError::BadLength => f.write_str("a match of impossible length"),
            DecompressError::TooLong { size_bytes } => write!(f, "more than the promised {size_bytes} bytes"),
            DecompressError::WrongSize { expected_bytes, found_bytes, unused_bytes } => {
                write!(
                    f,
                    "{found_bytes} of {expected_bytes} bytes, with {unused_bytes} bytes of input unused"
                )
            }
            DecompressError::Lzma(error) => write!(f, "LZMA data that do not decode: {error}"),
            DecompressError::UnknownMethod(method) => {
                write!(f, "{} as compression, which is not known here", method_name(*method))
            }
        }
    }
}

impl std::error::Error for DecompressError {}

/// The bytes of a block as the compressor got them, which is after filtering.
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

/// UPX replaces the usual 13-byte header by two bytes: `(lc + lp) << 3 | pb` and `lp << 4 | lc`.
fn lzma(data: &[u8], size_bytes: usize) -> Result<Vec<u8>, DecompressError> {
    let [first, second, stream @ ..] = data else { return Err(DecompressError::InputEnds) };
    let (pb, lp, lc) = (u32::from(first & 7), u32::from(second >> 4), u32::from(second & 15));
    if lc + lp != u32::from(first >> 3) || lc > 8 || lp > 4 || pb > 4 {
        return Err(DecompressError::Lzma(format!("parameters {first:#04x} {second:#04x}")));
    }
    // Matches reach back no further than the block, so its size is dictionary enough. Memory then follows the
    // promise of the block header, which is held against the size of the input first.
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

/// LZMA cannot compress better: a match of 273 bytes costs a few hundredths of a bit each at best.
const LZMA_RATIO_MAX: usize = 8192;
