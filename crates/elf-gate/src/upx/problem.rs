//! What does not fit together in a packed file: the part by name, for programs; expected and found, for people.

use std::fmt;

use serde::Serialize;

/// One contradiction between a packed file and what UPX writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub part: Part,
    pub expected: String,
    pub found: String,
}

impl Problem {
    pub(super) fn new(part: Part, expected: impl Into<String>, found: impl Into<String>) -> Problem {
        Problem { part, expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}, found {}", self.part, self.expected, self.found)
    }
}

macro_rules! parts {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The parts of the layout, in the order in which they lie in the file.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Part {
            $($(#[$doc])* $name,)*
        }

        impl fmt::Display for Part {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Part::$name => $text,)*
                })
            }
        }
    };
}

parts! {
    OuterHeader = "outer ELF header",
    /// In 4.x the one that reserves the image of the original.
    FirstOuterLoad = "first outer PT_LOAD",
    /// In 4.x the one that holds the data and the stub; until 3.96 it is the first.
    SecondOuterLoad = "second outer PT_LOAD",
    OuterLoads = "outer PT_LOAD",
    OuterStack = "outer PT_GNU_STACK",
    Entry = "entry",
    LoaderInfo = "l_info",
    ProgramInfo = "p_info",
    ProgramInfoSize = "p_info size",
    ProgramInfoBlockSize = "p_info block size",
    FirstBlock = "first block",
    BlockInfo = "b_info",
    Block = "block",
    InnerLoad = "inner PT_LOAD",
    PaddingBeforeStub = "padding before the stub",
    WordsBeforeStub = "words before the stub",
    Stub = "stub",
    PaddingBehindStub = "padding behind the stub",
    EndMarker = "end marker",
    PaddingBeforeTrailer = "padding before the trailer",
    Trailer = "trailer",
    PackHeaderChecksum = "PackHeader checksum",
    PackHeaderSize = "PackHeader size",
    PackHeaderLengths = "PackHeader lengths",
    OverlayOffset = "overlay offset",
}
