//! Errors of the decompressors and of unpacking.

use std::fmt;

use crate::upx::format::method_name;

/// Why a block cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecompressError {
    /// The compressed data end too early.
    InputEnds,
    /// A match starts before the output.
    BadOffset,
    /// A match has an impossible length.
    BadLength,
    /// The output exceeds its declared size.
    TooLong {
        /// Declared size.
        size_bytes: usize,
    },
    /// The output or the input has another size than declared.
    WrongSize {
        /// Declared size of the output.
        expected_bytes: usize,
        /// Size of the output.
        found_bytes: usize,
        /// Input after the end of the stream.
        unused_bytes: usize,
    },
    /// The LZMA stream is damaged.
    Lzma(String),
    /// The method is not implemented.
    UnknownMethod(u8),
}

impl fmt::Display for DecompressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecompressError::InputEnds => f.write_str("compressed data that end too early"),
            DecompressError::BadOffset => f.write_str("a match before the start of the data"),
            DecompressError::BadLength => f.write_str("a match of impossible length"),
            DecompressError::TooLong { size_bytes } => write!(f, "more than the declared {size_bytes} bytes"),
            DecompressError::WrongSize { expected_bytes, found_bytes, unused_bytes } => {
                write!(
                    f,
                    "{found_bytes} of {expected_bytes} bytes, with {unused_bytes} bytes of input unused"
                )
            }
            DecompressError::Lzma(error) => write!(f, "damaged LZMA data: {error}"),
            DecompressError::UnknownMethod(method) => {
                write!(f, "data of the unsupported compression {}", method_name(*method))
            }
        }
    }
}

impl std::error::Error for DecompressError {}

/// Why a packed file cannot be unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnpackError {
    /// The layout is inconsistent: the first problem.
    Layout(String),
    /// The original exceeds the limit of the caller.
    TooLarge {
        /// Size of the original.
        size_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A block cannot be decompressed.
    Block {
        /// File offset of the block.
        offset: u64,
        /// The reason.
        error: DecompressError,
    },
    /// A block names a filter that is not implemented.
    UnknownFilter {
        /// File offset of the block.
        offset: u64,
        /// The filter.
        filter: u8,
    },
    /// A block names a filter that changes no byte. UPX never writes that.
    IdleFilter {
        /// File offset of the block.
        offset: u64,
        /// The filter.
        filter: u8,
    },
    /// A checksum differs.
    Checksum {
        /// The data that it covers.
        what: &'static str,
        /// Stored value.
        expected: u32,
        /// Value of the data.
        found: u32,
    },
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Layout(problem) => write!(f, "the packed layout is damaged: {problem}"),
            UnpackError::TooLarge { size_bytes, limit_bytes } => {
                write!(f, "the unpacked file has {size_bytes} bytes, the limit is {limit_bytes}")
            }
            UnpackError::Block { offset, error } => write!(f, "the block at {offset} holds {error}"),
            UnpackError::UnknownFilter { offset, filter } => {
                write!(f, "the block at {offset} uses the unsupported filter {filter:#04x}")
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
