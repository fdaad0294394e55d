//! `.got` of a program that no loader relocates: its addresses are final in the file.

use serde::Serialize;

use super::code_arrays::Ranges;
use crate::bytes::Words;
use crate::elf::types::{PT_DYNAMIC, PT_INTERP, PT_TLS, Section, Segment};

/// The addresses in `.got`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AddressTable {
    /// Number of entries.
    pub count: u64,
    /// The first entries that are neither an address of a segment nor an offset in thread-local storage.
    pub outside: Vec<u64>,
}

/// Machines whose linkers write nothing but addresses and offsets there: 386, ARM, x86-64, aarch64, RISC-V. On PowerPC the first entry
/// is the base of the table, outside of every segment.
pub(super) fn is_supported(machine: u16) -> bool {
    [3, 40, 62, 183, 243].contains(&machine)
}

/// Values below are no addresses: weak symbols that are not defined, and absolute symbols.
const SMALL: u64 = 4096;
const LISTED: usize = 4;

/// `None` without `.got`, or when a loader writes to it.
pub(super) fn address_table(
    words: Words,
    is_fixed_position: bool,
    segments: &[Segment],
    sections: &[Section],
) -> Option<AddressTable> {
    let is_loaded_by_other =
        segments.iter().any(|segment| matches!(segment.kind_number, PT_DYNAMIC | PT_INTERP));
    let section = sections.iter().find(|section| section.name == ".got" && section.has_contents())?;
    if !is_fixed_position || is_loaded_by_other {
        return None;
    }
    let pointer_bytes = words.pointer_bytes();
    let bits = u32::from(words.class_bits);
    let tls = segments.iter().find(|segment| segment.kind_number == PT_TLS);
    // Below the thread pointer (x86) the offset is negative; above (aarch64) it is small. Both may include the alignment.
    let tls_bytes =
        tls.map_or(0, |tls| tls.memory_size_bytes.saturating_add(tls.align).saturating_add(SMALL));
    let lowest_negative = (u64::MAX >> (64 - bits)).saturating_sub(tls_bytes);
    let loaded = Ranges::of(segments, |_| true);
    let is_plausible = |value: u64| {
        value < SMALL.max(tls_bytes)
            || (tls_bytes > 0 && value > lowest_negative)
            || loaded.contain(value)
            // The end of a segment, as `_end` and `__bss_end__`.
            || loaded.contain(value.saturating_sub(1))
    };
    let count = (section.size_bytes / pointer_bytes).min(words.bytes.len() as u64 / pointer_bytes);
    let values =
        (0..count).map_while(|index| words.pointer_at(section.offset.checked_add(index * pointer_bytes)?));
    Some(AddressTable { count, outside: values.filter(|value| !is_plausible(*value)).take(LISTED).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::elf::types::PT_LOAD;

    fn segment(kind_number: u32, address: u64, size: u64) -> Segment {
        Segment {
            kind: String::new(),
            kind_number,
            flags: String::new(),
            flags_number: 6,
            offset: 0,
            address,
            physical_address: address,
            file_size_bytes: size,
            memory_size_bytes: size,
            align: 8,
        }
    }

    fn found(values: &[u64], segments: &[Segment]) -> Option<AddressTable> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let words = Words { bytes: &bytes, is_little_endian: true, class_bits: 64 };
        let size_bytes = bytes.len() as u64;
        let got = Section {
            name: ".got".into(),
            kind_number: 1,
            flags_number: 3,
            size_bytes,
            ..Section::default()
        };
        address_table(words, true, segments, &[got])
    }

    #[test]
    fn addresses_of_segments_and_small_values_are_plausible_and_others_are_listed() {
        let code = segment(PT_LOAD, 0x40_0000, 0x1000);
        let table =
            found(&[0, 1, 0x40_0000, 0x40_1000, 0x40_1001, u64::MAX - 8], std::slice::from_ref(&code));
        assert_eq!(table.unwrap(), AddressTable { count: 6, outside: vec![0x40_1001, u64::MAX - 8] });
        let with_tls = [code.clone(), segment(PT_TLS, 0x40_0100, 64)];
        assert_eq!(found(&[u64::MAX - 8], &with_tls).unwrap().outside, [0; 0]);
        assert_eq!(found(&[u64::MAX - 0x10_0000], &with_tls).unwrap().outside.len(), 1);
        assert_eq!(found(&[0], &[code, segment(PT_DYNAMIC, 0, 0)]), None);
    }
}
