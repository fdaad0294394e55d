//! Which part of the file each byte belongs to: a header, a table, a section or a segment. Only bytes between the parts are
//! read.

use serde::Serialize;

use crate::bytes::slice;
use crate::elf::types::{Header, PT_LOAD, Section, Segment};

/// Bytes that belong to no header, table, section or segment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct FileMap {
    /// Ranges that are not filled with zeros, and the range after the last part, in the order of the file.
    pub unclaimed: Vec<UnclaimedRange>,
    /// Unclaimed ranges that are not listed.
    pub unlisted: usize,
    /// Pairs of parts that share bytes.
    pub overlaps: Vec<(String, String)>,
}

/// A range of the file that no part claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnclaimedRange {
    /// File offset.
    pub offset: u64,
    /// Size.
    pub size_bytes: u64,
    /// What it contains.
    pub filling: Filling,
    /// No part follows.
    pub is_at_end: bool,
    /// An executable PT_LOAD maps it.
    pub is_in_code: bool,
    /// The part before it.
    pub after: String,
}

/// Contents of an unclaimed range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Filling {
    /// Zeros only.
    Zeros,
    /// One byte value, repeated.
    Repeated(u8),
    /// Instructions that do nothing, of x86.
    Nops,
    /// Anything else.
    Data,
}

/// A part of the file.
struct Part {
    start: u64,
    end: u64,
    name: PartName,
}

#[derive(Clone, Copy)]
enum PartName {
    ElfHeader,
    ProgramHeaders,
    SectionHeaders,
    Section(usize),
    Segment(usize),
}

impl FileMap {
    /// Without section headers, segments stand for sections.
    pub(super) fn new(bytes: &[u8], header: &Header, segments: &[Segment], sections: &[Section]) -> FileMap {
        const LISTED: usize = 16;
        let mut map = FileMap::default();
        let parts = parts(header, segments, sections);
        let describe = |name| match name {
            PartName::ElfHeader => "the ELF header".to_string(),
            PartName::ProgramHeaders => "the program headers".into(),
            PartName::SectionHeaders => "the section headers".into(),
            PartName::Section(index) => format!("section {index} `{}`", sections[index].name),
            PartName::Segment(index) => format!("segment {index} ({})", segments[index].kind),
        };
        let mut last = PartName::ElfHeader;
        let mut end = 0_u64;
        let mut list = |start: u64, stop: u64, after: PartName, is_at_end: bool| {
            let Some(range) = slice(bytes, start, stop.saturating_sub(start)) else { return };
            let filling = Filling::of(range);
            if range.is_empty() || (filling == Filling::Zeros && !is_at_end) {
                return;
            }
            if map.unclaimed.len() == LISTED {
                map.unlisted += 1;
                return;
            }
            let is_in_code = segments.iter().any(|segment| {
                let is_inside =
                    segment.offset <= start && stop <= segment.end_offset().next_multiple_of(4096);
                segment.kind_number == PT_LOAD && segment.is_executable() && is_inside
            });
            map.unclaimed.push(UnclaimedRange {
                offset: start,
                size_bytes: stop - start,
                filling,
                is_at_end,
                is_in_code,
                after: describe(after),
            });
        };
        let mut overlaps = Vec::new();
        for part in parts {
            // Segments contain each other and the headers.
            let is_segment =
                matches!(part.name, PartName::Segment(_)) || matches!(last, PartName::Segment(_));
            if part.start < end && !is_segment && overlaps.len() < LISTED {
                overlaps.push((describe(last), describe(part.name)));
            }
            if part.start > end {
                list(end, part.start, last, false);
            }
            if part.end > end {
                (end, last) = (part.end, part.name);
            }
        }
        list(end, bytes.len() as u64, last, true);
        map.overlaps = overlaps;
        map
    }
}

fn parts(header: &Header, segments: &[Segment], sections: &[Section]) -> Vec<Part> {
    let fields = &header.fields;
    let mut parts = vec![
        Part { start: 0, end: fields.header_bytes.into(), name: PartName::ElfHeader },
        Part {
            start: fields.program_headers_offset,
            end: header.program_headers_end,
            name: PartName::ProgramHeaders,
        },
    ];
    if !sections.is_empty() {
        let start = fields.section_headers_offset;
        let table_bytes = u64::from(fields.section_header_bytes).saturating_mul(sections.len() as u64);
        parts.push(Part { start, end: start.saturating_add(table_bytes), name: PartName::SectionHeaders });
    }
    const SHT_NULL: u32 = 0;
    for (index, section) in sections.iter().enumerate() {
        if section.has_contents() && section.kind_number != SHT_NULL {
            let end = section.offset.saturating_add(section.size_bytes);
            parts.push(Part { start: section.offset, end, name: PartName::Section(index) });
        }
    }
    if sections.is_empty() {
        let loaded = segments.iter().enumerate();
        let parts_of_segments = loaded.map(|(index, segment)| Part {
            start: segment.offset,
            end: segment.end_offset(),
            name: PartName::Segment(index),
        });
        parts.extend(parts_of_segments);
    }
    parts.retain(|part| part.start < part.end);
    parts.sort_by_key(|part| (part.start, part.end));
    parts
}

impl Filling {
    fn of(range: &[u8]) -> Filling {
        let Some(&first) = range.first() else { return Filling::Zeros };
        if range.iter().all(|&byte| byte == first) {
            return if first == 0 { Filling::Zeros } else { Filling::Repeated(first) };
        }
        if is_nops(range) { Filling::Nops } else { Filling::Data }
    }
}

/// The sequences that assemblers and linkers use to align code: `nop`, `xchg %ax,%ax`, `nopl`/`nopw` with any operand and
/// prefixes, and `int3`.
fn is_nops(mut range: &[u8]) -> bool {
    while let Some(&first) = range.first() {
        let prefixes = range.iter().take_while(|&&byte| matches!(byte, 0x66 | 0x2e)).count();
        let length = match range.get(prefixes..) {
            _ if first == 0 || first == 0xcc => Some(1),
            Some([0x90, ..]) => Some(prefixes + 1),
            // 0f 1f /0: the length follows from ModRM and SIB.
            Some([0x0f, 0x1f, modrm, ..]) => {
                let has_sib = usize::from(modrm & 7 == 4);
                match modrm >> 6 {
                    0 => Some(prefixes + 3 + has_sib),
                    1 => Some(prefixes + 4 + has_sib),
                    2 => Some(prefixes + 7 + has_sib),
                    _ => None,
                }
            }
            _ => None,
        };
        match length.and_then(|length| range.get(length..)) {
            Some(rest) => range = rest,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::Filling;

    #[test]
    fn recognises_padding_of_code() {
        assert_eq!(Filling::of(&[0; 3]), Filling::Zeros);
        assert_eq!(Filling::of(&[0xcc; 3]), Filling::Repeated(0xcc));
        let nops = [0x66, 0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0, 0x0f, 0x1f, 0x44, 0, 0, 0xcc];
        assert_eq!(Filling::of(&nops), Filling::Nops);
        assert_eq!(Filling::of(&nops[..10]), Filling::Data, "a cut instruction");
        assert_eq!(Filling::of(b"text"), Filling::Data);
    }
}
