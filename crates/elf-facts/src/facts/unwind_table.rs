//! `.eh_frame_hdr`: the table by which the unwinder finds the frame description of an address. The ends of the table are
//! read, and the one entry that covers the entry point.

use serde::Serialize;

use crate::bytes::Words;
use crate::elf::types::{PT_GNU_EH_FRAME, PT_LOAD, Segment};

/// `.eh_frame_hdr`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnwindTable {
    /// `version`.
    pub version: u8,
    /// Encodings of the pointer, of the count and of the table.
    pub encodings: [u8; 3],
    /// Address of `.eh_frame`; `None` for an encoding that linkers do not write.
    pub frames_address: Option<u64>,
    /// Number of functions in the table; `None` without a table.
    pub function_count: Option<u64>,
    /// Bytes of the segment that the table does not use; negative when it does not fit.
    pub spare_bytes: i64,
    /// Address of the first and of the last function.
    pub functions: Option<(u64, u64)>,
    #[serde(skip)]
    table: Option<Table>,
}

/// A function of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FunctionRange {
    /// First address.
    pub start: u64,
    /// Address after the last byte.
    pub end: u64,
}

/// Position of the sorted table: pairs of 32-bit offsets from the start of the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Table {
    offset: u64,
    base: u64,
    count: u64,
}

/// Pointer, 4 bytes, relative to its own position.
const PCREL_SDATA4: u8 = 0x1b;
/// Count, 4 bytes.
const UDATA4: u8 = 0x03;
/// Table entries, 4 bytes, relative to the start of the segment.
const DATAREL_SDATA4: u8 = 0x3b;
const ENTRY_BYTES: u64 = 8;

impl UnwindTable {
    /// `None` without a PT_GNU_EH_FRAME of at least four bytes in the file.
    pub(super) fn read(words: Words, segments: &[Segment]) -> Option<UnwindTable> {
        let segment = segments.iter().find(|segment| segment.kind_number == PT_GNU_EH_FRAME)?;
        let head = words.bytes.get(usize::try_from(segment.offset).ok()?..)?.first_chunk::<4>()?;
        let [version, encodings @ ..] = *head;
        let signed = |at: u64| Some(i64::from(words.u32_at(segment.offset.checked_add(at)?)?.cast_signed()));
        let pointer = signed(4).filter(|_| encodings[0] == PCREL_SDATA4);
        let frames_address = pointer.map(|value| segment.address.wrapping_add(4).wrapping_add_signed(value));
        let count = words.u32_at(segment.offset.checked_add(8)?).map(u64::from);
        let count = count.filter(|_| encodings[1] == UDATA4 && encodings[2] == DATAREL_SDATA4);
        let used = 12 + count.unwrap_or(0) * ENTRY_BYTES;
        let spare_bytes = segment.file_size_bytes.cast_signed().saturating_sub(used.cast_signed());
        let table = count.filter(|_| spare_bytes >= 0).map(|count| Table {
            offset: segment.offset.saturating_add(12),
            base: segment.address,
            count,
        });
        let ends = table.filter(|table| table.count > 0);
        let functions =
            ends.and_then(|table| Some((table.at(words, 0)?.0, table.at(words, table.count - 1)?.0)));
        Some(UnwindTable {
            version,
            encodings,
            frames_address,
            function_count: count,
            spare_bytes,
            functions,
            table,
        })
    }

    /// The function that contains the address, if its frame description has the usual encoding.
    pub(super) fn function_at(
        &self,
        words: Words,
        segments: &[Segment],
        address: u64,
    ) -> Option<FunctionRange> {
        let table = self.table?;
        let (mut low, mut high) = (0, table.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match table.at(words, middle)?.0 <= address {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let (start, frame) = table.at(words, low.checked_sub(1)?)?;
        let load = segments
            .iter()
            .find(|segment| segment.kind_number == PT_LOAD && segment.offset_of(frame).is_some())?;
        let at = load.offset_of(frame)?;
        // Length, distance to the common part, start relative to its own position, size.
        let stored = i64::from(words.u32_at(at.checked_add(8)?)?.cast_signed());
        if frame.wrapping_add(8).wrapping_add_signed(stored) != start {
            return None;
        }
        let end = start.checked_add(words.u32_at(at.checked_add(12)?)?.into())?;
        (address < end).then_some(FunctionRange { start, end })
    }
}

impl Table {
    /// Address of a function, and of its frame description.
    fn at(self, words: Words, index: u64) -> Option<(u64, u64)> {
        let at = self.offset.checked_add(index.checked_mul(ENTRY_BYTES)?)?;
        let signed = |at: u64| Some(i64::from(words.u32_at(at)?.cast_signed()));
        let address = |value: i64| self.base.wrapping_add_signed(value);
        Some((address(signed(at)?), address(signed(at.checked_add(4)?)?)))
    }
}
