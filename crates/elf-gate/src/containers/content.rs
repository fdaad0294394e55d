//! What a walk reports, and what bounds it.

use diag::Diagnostic;

use crate::containers::format::Format;

/// How much work one input may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalkLimits {
    /// Nesting of containers; an image with packages in its layers needs six levels.
    pub depth_max: u32,
    /// Entries of all containers of one input.
    pub entries_max: u64,
    /// Output of all decompressors of one input.
    pub decompressed_bytes_max: u64,
    /// The largest member that is read into memory.
    pub member_bytes_max: u64,
}

impl Default for WalkLimits {
    fn default() -> WalkLimits {
        WalkLimits {
            depth_max: 8,
            entries_max: 1_000_000,
            decompressed_bytes_max: 4 << 30,
            member_bytes_max: 1 << 30,
        }
    }
}

/// The content of a file or member.
#[derive(Debug)]
pub enum Content<'a> {
    /// Starts with the ELF magic number; the file may still be damaged.
    Elf(&'a [u8]),
    /// Neither an ELF file nor a container.
    Other,
    /// Compressed by a method that is not supported. It may contain an ELF file.
    Unsupported(Format),
    /// The content, or the remainder of a container, cannot be read. Never a pass.
    Unreadable(Diagnostic),
}
