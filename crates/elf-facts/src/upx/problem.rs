//! Inconsistencies of a packed file: the part as data, expected and found value as text.

use std::fmt;

use serde::Serialize;

/// A difference between a packed file and the output of UPX.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpxProblem {
    /// The part of the layout.
    pub part: UpxPart,
    /// What UPX writes.
    pub expected: String,
    /// What the file holds.
    pub found: String,
}

impl UpxProblem {
    pub(super) fn new(part: UpxPart, expected: impl Into<String>, found: impl Into<String>) -> UpxProblem {
        UpxProblem { part, expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for UpxProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.part, self.expected, self.found)
    }
}

macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The parts of the layout, in file order.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum UpxPart {
            $($(#[$doc])* $name,)*
        }

        impl fmt::Display for UpxPart {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(UpxPart::$name => $text,)*
                })
            }
        }
    };
}

parts! {
    /// ELF header of the packed file.
    OuterHeader = "outer ELF header",
    /// In 4.x it reserves the memory image of the original.
    FirstOuterLoad = "first outer PT_LOAD",
    /// In 4.x it holds the data and the stub; until 3.96 the first one does.
    SecondOuterLoad = "second outer PT_LOAD",
    /// PT_LOADs of the packed file.
    OuterLoads = "outer PT_LOAD",
    /// PT_GNU_STACK of the packed file.
    OuterStack = "outer PT_GNU_STACK",
    /// Entry point.
    Entry = "entry",
    /// Header of the stub.
    LoaderInfo = "l_info",
    /// Sizes of the original.
    ProgramInfo = "p_info",
    /// `p_filesize`.
    ProgramInfoSize = "p_info size",
    /// `p_blocksize`.
    ProgramInfoBlockSize = "p_info block size",
    /// Block of the original headers.
    FirstBlock = "first block",
    /// Header of a block.
    BlockInfo = "b_info",
    /// Data of a block.
    Block = "block",
    /// PT_LOAD of the original.
    InnerLoad = "inner PT_LOAD",
    /// Bytes between the last block and the stub.
    PaddingBeforeStub = "padding before the stub",
    /// Offsets by which the stub finds its data.
    WordsBeforeStub = "words before the stub",
    /// Code that the kernel starts.
    Stub = "stub",
    /// Bytes between the stub and the next block.
    PaddingAfterStub = "padding after the stub",
    /// Block header that ends the list.
    EndMarker = "end marker",
    /// Bytes before the trailer.
    PaddingBeforeTrailer = "padding before the trailer",
    /// PackHeader and overlay offset.
    Trailer = "trailer",
    /// Checksum of the PackHeader itself.
    PackHeaderChecksum = "PackHeader checksum",
    /// `u_file_size`.
    PackHeaderSize = "PackHeader size",
    /// `u_len` and `c_len`.
    PackHeaderLengths = "PackHeader lengths",
    /// Last word of the file.
    OverlayOffset = "overlay offset",
}
