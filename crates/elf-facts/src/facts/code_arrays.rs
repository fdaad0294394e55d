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
    const LISTED: usize = 4;
    let pointer_bytes = words.pointer_bytes();
    let end_mark = if words.class_bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
    let code = Ranges::of(segments, Segment::is_executable);
    // Arrays that do not overlap are read completely. Sections of a damaged file may all be the same large array.
    let mut left = words.bytes.len() as u64 / pointer_bytes;
    let arrays = sections.iter().filter(|section| {
        (SHT_INIT_ARRAY..=SHT_PREINIT_ARRAY).contains(&section.kind_number) && section.is_allocated()
    });
    let arrays = arrays.map(|section| {
        let count = section.size_bytes / pointer_bytes;
        let read = count.min(left);
        left -= read;
        let pointers =
            (0..read).map_while(|index| words.pointer_at(section.offset.checked_add(index * pointer_bytes)?));
        let outside =
            pointers.filter(|&pointer| pointer != 0 && pointer != end_mark && !code.contain(pointer));
        CodeArray {
            section: section.name.clone(),
            count,
            outside: outside.take(LISTED).collect(),
            is_ragged: !section.size_bytes.is_multiple_of(pointer_bytes),
        }
    });
    arrays.collect()
}

/// The addresses of loaded segments, sorted and without overlap.
pub(super) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub fn of(segments: &[Segment], is_wanted: impl Fn(&Segment) -> bool) -> Ranges {
        let wanted = segments.iter().filter(|segment| segment.kind_number == PT_LOAD && is_wanted(segment));
        let mut ranges: Vec<Range<u64>> =
            wanted.map(|segment| segment.address..segment.end_address()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.dedup_by(|next, last| {
            let is_merged = next.start <= last.end;
            if is_merged {
                last.end = last.end.max(next.end);
            }
            is_merged
        });
        Ranges(ranges)
    }

    pub fn contain(&self, address: u64) -> bool {
        let after = self.0.partition_point(|range| range.start <= address);
        after.checked_sub(1).is_some_and(|index| self.0[index].contains(&address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(address: u64) -> Segment {
        Segment {
            kind: "PT_LOAD".into(),
            kind_number: PT_LOAD,
            flags: "r-x".into(),
            flags_number: 5,
            offset: 0,
            address,
            physical_address: address,
            file_size_bytes: 16,
            memory_size_bytes: 16,
            align: 1,
        }
    }

    fn array(offset: u64, count: u64) -> Section {
        Section { kind_number: 14, flags_number: 3, offset, size_bytes: 8 * count, ..Section::default() }
    }

    #[test]
    fn finds_pointers_outside_of_code_at_any_position() {
        const COUNT: usize = 20_000;
        let mut bytes = 0x108_u64.to_le_bytes().repeat(COUNT);
        bytes[8 * COUNT - 8..].copy_from_slice(&0x120_u64.to_le_bytes());
        let words = Words { bytes: &bytes, is_little_endian: true, class_bits: 64 };
        let arrays = [array(0, 8), array(64, COUNT as u64 - 8)];
        // Overlapping segments, and one that ends before the address.
        let facts = code_arrays(words, &[code(0x110), code(0x100), code(0x101)], &arrays);
        assert_eq!((&facts[0].outside[..], &facts[1].outside[..]), (&[][..], &[0x120][..]));
    }

    #[test]
    fn reads_the_bytes_of_a_file_once_for_any_number_of_arrays_and_segments() {
        const COUNT: u64 = 10_000;
        let bytes = 0x8_u64.to_le_bytes().repeat(COUNT as usize);
        let words = Words { bytes: &bytes, is_little_endian: true, class_bits: 64 };
        let segments: Vec<Segment> = (0..COUNT).rev().map(|index| code(32 * index)).collect();
        let sections: Vec<Section> = (0..COUNT).map(|_| array(0, COUNT)).collect();
        // 10^12 comparisons if each array were compared with each segment.
        let facts = code_arrays(words, &segments, &sections);
        assert!(facts.len() == sections.len() && facts.iter().all(|array| array.outside.is_empty()));
    }
}
