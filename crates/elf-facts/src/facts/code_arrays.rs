//! Arrays of function pointers that the start code calls: `.preinit_array`, `.init_array` and `.fini_array`.

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
    const READ: u64 = 4096;
    const LISTED: usize = 4;
    let pointer_bytes = words.pointer_bytes();
    let end_mark = if words.class_bits == 32 { u64::from(u32::MAX) } else { u64::MAX };
    let code: Vec<&Segment> =
        segments.iter().filter(|s| s.kind_number == PT_LOAD && s.is_executable()).collect();
    let is_code = |address: u64| code.iter().any(|s| (s.address..s.end_address()).contains(&address));
    let arrays = sections.iter().filter(|section| {
        (SHT_INIT_ARRAY..=SHT_PREINIT_ARRAY).contains(&section.kind_number) && section.is_allocated()
    });
    let arrays = arrays.map(|section| {
        let count = section.size_bytes / pointer_bytes;
        let pointers = (0..count.min(READ))
            .map_while(|index| words.pointer_at(section.offset.checked_add(index * pointer_bytes)?));
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
