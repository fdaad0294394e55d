//! Reads blocks one after the other.
//!
//! The file bounds the cost: a block takes at least its own header, and nothing is decompressed.

use crate::bytes::u32_at;
use crate::upx::outer;
use crate::upx::problem::{UpxPart, UpxProblem};
use crate::upx::types::Block;

/// `UPX!`.
pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"UPX!");
/// Size of PackHeader and overlay offset.
pub(super) const TRAILER_BYTES: u64 = 36;

/// Position in the file, and the blocks and problems so far.
pub(super) struct Scanner<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) problems: Vec<UpxProblem>,
    pub(super) blocks: Vec<Block>,
    pub(super) cursor: u64,
    /// Sum over the blocks.
    pub(super) unpacked_bytes: u64,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Scanner<'a> {
        Scanner { bytes, problems: Vec::new(), blocks: Vec::new(), cursor: 0, unpacked_bytes: 0 }
    }

    pub(super) fn problem(&mut self, part: UpxPart, expected: impl Into<String>, found: impl Into<String>) {
        self.problems.push(UpxProblem::new(part, expected, found));
    }

    /// Reads blocks until they cover `start..end` of the original.
    pub(super) fn run(&mut self, start: u64, end: u64) -> Option<()> {
        let mut at = start;
        while at < end {
            let block_at = self.cursor;
            let Some(block) = self.block(at) else {
                self.problem(
                    UpxPart::Block,
                    format!("a block at {block_at} for bytes {at}..{end}"),
                    "none that fits the file",
                );
                return None;
            };
            at += u64::from(block.unpacked_size_bytes);
            if at > end {
                self.problem(UpxPart::Block, format!("an end at {end} of the original"), format!("{at}"));
                return None;
            }
        }
        Some(())
    }

    /// Reads the block at the cursor.
    pub(super) fn block(&mut self, output_offset: u64) -> Option<Block> {
        let flags = u32_at(self.bytes, self.cursor.checked_add(8)?)?.to_le_bytes();
        let block = Block {
            offset: self.cursor,
            output_offset,
            unpacked_size_bytes: u32_at(self.bytes, self.cursor)?,
            packed_size_bytes: u32_at(self.bytes, self.cursor + 4)?,
            method: flags[0],
            filter: flags[1],
            filter_cto: flags[2],
        };
        // A stored block has no method and no filter, the headers have no filter, and the last byte is unused.
        let is_inconsistent = (block.is_stored() && flags != [0; 4])
            || (self.blocks.is_empty() && flags[1..] != [0; 3])
            || (block.filter == 0 && block.filter_cto != 0)
            || flags[3] != 0;
        if is_inconsistent {
            self.problem(
                UpxPart::BlockInfo,
                "no method for stored data, no filter for headers",
                format!("{flags:?}"),
            );
        }
        let is_plausible =
            block.unpacked_size_bytes > 0 && block.packed_size_bytes <= block.unpacked_size_bytes;
        if !is_plausible || block.data(self.bytes)?.is_empty() {
            return None;
        }
        self.cursor = block.end();
        self.unpacked_bytes += u64::from(block.unpacked_size_bytes);
        self.blocks.push(block.clone());
        Some(block)
    }

    /// Reads the end marker and checks that the trailer follows it.
    pub(super) fn end_marker(&mut self) {
        let at = self.cursor;
        let found = [u32_at(self.bytes, at), u32_at(self.bytes, at + 4), u32_at(self.bytes, at + 8)];
        if found != [Some(0), Some(MAGIC), Some(0)] {
            return self.problem(UpxPart::EndMarker, format!("{{0, `UPX!`, 0}} at {at}"), "other bytes");
        }
        let trailer_at = (at + 12).next_multiple_of(4);
        let found = (self.bytes.len() as u64).saturating_sub(TRAILER_BYTES);
        if !outer::is_zero(self.bytes, at + 12, trailer_at) {
            self.problem(UpxPart::PaddingBeforeTrailer, "zeros", "other bytes");
        }
        if found != trailer_at {
            self.problem(
                UpxPart::Trailer,
                format!("directly after the end marker, at {trailer_at}"),
                format!("at {found}"),
            );
        }
    }

    /// Adler-32 over all compressed data in file order; `None` without blocks.
    pub(super) fn compressed_adler(&self) -> Option<u32> {
        let mut adler = simd_adler32::Adler32::new();
        for block in &self.blocks {
            adler.write(block.data(self.bytes)?);
        }
        if self.blocks.is_empty() { None } else { Some(adler.finish()) }
    }
}
