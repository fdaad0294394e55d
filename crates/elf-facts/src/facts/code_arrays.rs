//! Arrays of function pointers that the start code calls: `.preinit_array`, `.init_array` and `.fini_array`.

use std::ops::Range;

use serde::Serialize;

use crate::bytes::Words;
use crate::elf::types::{PT_LOAD, Section, Segment};

/// An array of function pointers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CodeArray {
    /// Name of the section.
    pub section: String,
    /// Number of pointers.
    pub count: u64,
    /// The first pointers that are neither 0 nor -1 and lie outside of executable segments.
    pub outside: Vec<u64>,
    /// The size is not a multiple of a pointer.
    pub is_ragged: bool,
}

pub(super) fn code_arrays(words: Words, segments: &[Segment], sections: &[Section]) -> Vec<CodeArray> {
    const SHT_INIT_ARRAY: u32 = 14;
    const SHT_PREINIT_ARRAY: u32 = 16;
    /// Pointers that are read of all arrays together: sections of a damaged file may all be the same large array.
    const READ: u64 = 1 << 14;
    const LISTED: usize = 4;
    let pointer_bytes = words.pointer_bytes();
    let end_mark = if words.class_bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
    let code = code_ranges(segments);
    let is_code = |address: u64| {
        let after = code.partition_point(|range| range.start <= address);
        after.checked_sub(1).is_some_and(|index| code[index].contains(&address))
    };
    let mut left = READ;
    let arrays = sections.iter().filter(|section| {
        (SHT_INIT_ARRAY..=SHT_PREINIT_ARRAY).contains(&section.kind_number) && section.is_allocated()
    });
    let arrays = arrays.map(|section| {
        let count = section.size_bytes / pointer_bytes;
        let read = count.min(left);
        left -= read;
        let pointers =
            (0..read).map_while(|index| words.pointer_at(section.offset.checked_add(index * pointer_bytes)?));
        let outside = pointers.filter(|&pointer| pointer != 0 && pointer != end_mark && !is_code(pointer));
        CodeArray {
            section: section.name.clone(),
            count,
            outside: outside.take(LISTED).collect(),
            is_ragged: !section.size_bytes.is_multiple_of(pointer_bytes),
        }
    });
    arrays.collect()
}

/// The addresses of executable segments, sorted and without overlap.
fn code_ranges(segments: &[Segment]) -> Vec<Range<u64>> {
    let code = segments.iter().filter(|segment| segment.kind_number == PT_LOAD && segment.is_executable());
    let mut ranges: Vec<Range<u64>> = code.map(|segment| segment.address..segment.end_address()).collect();
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.dedup_by(|next, last| {
        let is_merged = next.start <= last.end;
        if is_merged {
            last.end = last.end.max(next.end);
        }
        is_merged
    });
    ranges
}
