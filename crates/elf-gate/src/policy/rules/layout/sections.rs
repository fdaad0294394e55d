//! Section headers against program headers. The linker writes both from one layout.

use elf_facts::facts::{
    PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_PROPERTY, PT_GNU_RELRO, PT_INTERP, PT_LOAD, PT_NOTE, PT_TLS, Section,
    Segment,
};

use crate::policy::rules::layout::problems::{Hex, Problems};
use crate::policy::rules::layout::program_headers::{IndexedSegment, PAGE_BYTES};

const SHT_DYNAMIC: u32 = 6;
const SHT_NOTE: u32 = 7;
/// More program headers than the kernel accepts; the bound stops quadratic time.
const SEGMENTS_MAX: usize = 128;

pub(super) fn check(segments: &[Segment], sections: &[Section], is_static: bool, problems: &mut Problems) {
    if segments.len() > SEGMENTS_MAX {
        return problems.require(false, "segments", format_args!("at most {SEGMENTS_MAX}"), segments.len());
    }
    for (index, section) in sections.iter().enumerate() {
        if is_in_memory(section) {
            inside_of_load(index, section, segments, problems);
        }
        let align = section.align;
        problems.require(
            !section.is_allocated() || align < 2 || align.is_power_of_two() && section.address % align == 0,
            format_args!("section {index} `{}` sh_addr", section.name),
            format_args!("a multiple of its alignment {align:#x}"),
            Hex(section.address),
        );
    }
    for (index, segment) in segments.iter().enumerate() {
        let indexed = IndexedSegment { index, segment };
        match segment.kind_number {
            PT_LOAD => load(indexed, sections, is_static, problems),
            PT_GNU_RELRO => relro(indexed, sections, problems),
            PT_NOTE => notes(indexed, sections, problems),
            _ => {}
        }
    }
    thread_local(segments, sections, problems);
    for (kind, name, is_it) in NAMED {
        named(segments, sections, *kind, name, *is_it, problems);
    }
    notes_in_segments(segments, sections, problems);
}

type IsSection = fn(&Section) -> bool;

/// Segments that consist of one section.
const NAMED: &[(u32, &str, IsSection)] = &[
    (PT_DYNAMIC, "PT_DYNAMIC", |section| section.kind_number == SHT_DYNAMIC),
    (PT_INTERP, "PT_INTERP", |section| section.name == ".interp"),
    (PT_GNU_EH_FRAME, "PT_GNU_EH_FRAME", |section| section.name == ".eh_frame_hdr"),
    (PT_GNU_PROPERTY, "PT_GNU_PROPERTY", |section| section.name == ".note.gnu.property"),
];

/// Variables of threads without contents have an address and no memory of their own.
fn is_in_memory(section: &Section) -> bool {
    section.is_allocated() && section.size_bytes > 0 && (section.has_contents() || !section.is_thread_local())
}

fn is_inside(section: &Section, segment: &Segment) -> bool {
    segment.address <= section.address && section.end_address() <= segment.end_address()
}

fn inside_of_load(index: usize, section: &Section, segments: &[Segment], problems: &mut Problems) {
    let name = &section.name;
    let mut loads = segments
        .iter()
        .enumerate()
        .filter(|(_, segment)| segment.kind_number == PT_LOAD && is_inside(section, segment));
    let (Some((load_index, load)), None) = (loads.next(), loads.next()) else {
        return problems.require(
            false,
            format_args!("section {index} `{name}`"),
            "an address range inside of exactly one PT_LOAD",
            format_args!("{:#x}..{:#x}", section.address, section.end_address()),
        );
    };
    if section.has_contents() {
        let expected = load.offset.wrapping_add(section.address - load.address);
        problems.require(
            section.offset == expected,
            format_args!("section {index} `{name}` sh_offset"),
            format_args!("{expected:#x}, where segment {load_index} loads its address from"),
            Hex(section.offset),
        );
        let end = section.offset.saturating_add(section.size_bytes);
        problems.require(
            end <= load.end_offset(),
            format_args!("section {index} `{name}` sh_size"),
            format_args!("an end within the bytes of segment {load_index}, {:#x}", load.end_offset()),
            Hex(end),
        );
    }
    let lacks = |of_section: bool, of_segment: bool| of_section && !of_segment;
    problems.require(
        !lacks(section.is_writable(), load.is_writable())
            && !lacks(section.is_executable(), load.is_executable()),
        format_args!("segment {load_index} (PT_LOAD) p_flags"),
        format_args!("those of section {index} `{name}`"),
        &load.flags,
    );
}

/// A PT_LOAD consists of sections, headers and padding, and of no other section.
fn load(indexed: IndexedSegment, sections: &[Section], is_static: bool, problems: &mut Problems) {
    let segment = indexed.segment;
    let (mut file_end, mut memory_end) = (0, 0);
    let (mut is_writable, mut is_executable, mut is_empty) = (false, false, true);
    for (index, section) in sections.iter().enumerate() {
        let end = section.offset.saturating_add(section.size_bytes);
        if is_in_memory(section) && is_inside(section, segment) {
            is_empty = false;
            memory_end = memory_end.max(section.end_address());
            file_end = file_end.max(if section.has_contents() { end } else { 0 });
            is_writable |= section.is_writable();
            is_executable |= section.is_executable();
        } else if section.has_contents() && section.kind_number != 0 && section.size_bytes > 0 {
            problems.require(
                end <= segment.offset || segment.end_offset() <= section.offset,
                indexed.field("p_filesz"),
                format_args!("only bytes of its own sections"),
                format_args!("bytes of section {index} `{}`", section.name),
            );
        }
    }
    if is_empty {
        return;
    }
    problems.require(
        is_executable || !segment.is_executable(),
        indexed.field("p_flags"),
        "no x: no section has it",
        &segment.flags,
    );
    // patchelf adds a writable segment for the read-only sections of a dynamic file.
    problems.require(
        is_writable || !segment.is_writable() || !is_static,
        indexed.field("p_flags"),
        "no w: no section has it",
        &segment.flags,
    );
    // lld ends code at a page. patchelf leaves former contents behind the sections that it moved again.
    let unit = PAGE_BYTES.max(if segment.align.is_power_of_two() { segment.align } else { 0 });
    let round = |end: u64, unit: u64| end.checked_next_multiple_of(unit).unwrap_or(u64::MAX);
    const PATCHELF_BYTES: u64 = 0x1_0000;
    // GNU ld aligns the end of read-only data, Go that of writable data. `unclaimed-bytes` requires zeros there.
    const ALIGN_MAX: u64 = 64;
    let has_no_zeros = segment.file_size_bytes == segment.memory_size_bytes;
    let is_end = |expected: u64, found: u64, may_be_aligned: bool| {
        found == expected
            || found == round(expected, PAGE_BYTES)
            || found == round(expected, unit)
            || may_be_aligned && found > expected && found - expected < ALIGN_MAX
            || !is_static && found >= expected && found - expected < PATCHELF_BYTES
    };
    let starts_with_headers = segment.offset == 0;
    if file_end > 0 || !starts_with_headers {
        let (expected, end) = (file_end.max(segment.offset), segment.end_offset());
        problems.require(
            is_end(expected, end, true) && (file_end > 0 || end == expected),
            indexed.field("p_filesz"),
            format_args!("an end at {expected:#x}, after its last section"),
            Hex(end),
        );
    }
    let end = segment.end_address();
    problems.require(
        is_end(memory_end, end, has_no_zeros),
        indexed.field("p_memsz"),
        format_args!("an end at {memory_end:#x}, after its last section"),
        Hex(end),
    );
}

/// PT_TLS spans the sections of thread-local variables.
fn thread_local(segments: &[Segment], sections: &[Section], problems: &mut Problems) {
    let parts = || {
        sections
            .iter()
            .filter(|section| section.is_allocated() && section.is_thread_local() && section.size_bytes > 0)
    };
    let segment = segments.iter().enumerate().find(|(_, segment)| segment.kind_number == PT_TLS);
    let Some((index, segment)) = segment else {
        return problems.require(
            parts().next().is_none(),
            "PT_TLS",
            "one for the thread-local sections",
            "none",
        );
    };
    let indexed = IndexedSegment { index, segment };
    let Some(start) = parts().map(|section| section.address).min() else {
        return problems.require(
            segment.memory_size_bytes == 0,
            indexed.field("p_memsz"),
            "0 without thread-local sections",
            Hex(segment.memory_size_bytes),
        );
    };
    let file_end = parts().filter(|section| section.has_contents()).map(Section::end_address).max();
    let end = parts().map(Section::end_address).max().unwrap_or(start);
    let align = parts().map(|section| section.align).max().unwrap_or(1).max(1);
    let in_file = file_end.unwrap_or(start).saturating_sub(start);
    let in_memory = end.saturating_sub(start);
    // Some linkers round the size up to the alignment.
    let rounded = if align.is_power_of_two() { in_memory.checked_next_multiple_of(align) } else { None };
    let found = segment.memory_size_bytes;
    problems.require(segment.address == start, indexed.field("p_vaddr"), Hex(start), Hex(segment.address));
    problems.require(
        segment.file_size_bytes == in_file,
        indexed.field("p_filesz"),
        Hex(in_file),
        Hex(segment.file_size_bytes),
    );
    problems.require(
        found == in_memory || Some(found) == rounded,
        indexed.field("p_memsz"),
        Hex(in_memory),
        Hex(found),
    );
    problems.require(segment.align == align, indexed.field("p_align"), Hex(align), Hex(segment.align));
}

/// Protection of whole sections: a boundary inside of one would leave a part of it writable, or make data read-only.
fn relro(indexed: IndexedSegment, sections: &[Section], problems: &mut Problems) {
    let segment = indexed.segment;
    let (start, end) = (segment.address, segment.end_address());
    if start == end {
        return;
    }
    for section in sections.iter().filter(|section| is_in_memory(section)) {
        let (from, to) = (section.address, section.end_address());
        problems.require(
            to <= start || from >= start,
            indexed.field("p_vaddr"),
            format_args!("the start of a section"),
            format_args!("{start:#x}, inside of `{}`", section.name),
        );
        // The loader protects whole pages only, so a section may begin in the last one.
        let is_data = matches!(section.name.as_str(), ".data" | ".bss");
        problems.require(
            !(is_data && from < end / PAGE_BYTES * PAGE_BYTES && to > start),
            indexed.field("p_memsz"),
            format_args!("an end before `{}`, which the program writes", section.name),
            Hex(end),
        );
    }
    // Without lazy binding the protection ends inside of the table of functions.
    let is_end = end.is_multiple_of(PAGE_BYTES)
        || sections.iter().filter(|section| is_in_memory(section)).any(|section| {
            let is_table = matches!(section.name.as_str(), ".got" | ".got.plt");
            section.address == end
                || section.end_address() == end
                || is_table && (section.address..section.end_address()).contains(&end)
        });
    problems.require(is_end, indexed.field("p_memsz"), "an end between sections", Hex(end));
    let is_start = sections.iter().any(|section| is_in_memory(section) && section.address == start);
    problems.require(is_start, indexed.field("p_vaddr"), "the start of a section", Hex(start));
}

/// PT_NOTE begins and ends with note sections.
fn notes(indexed: IndexedSegment, sections: &[Section], problems: &mut Problems) {
    let segment = indexed.segment;
    if segment.memory_size_bytes == 0 {
        return;
    }
    let notes = || sections.iter().filter(|section| section.kind_number == SHT_NOTE);
    problems.require(
        notes().any(|section| section.offset == segment.offset),
        indexed.field("p_offset"),
        "the start of a note section",
        Hex(segment.offset),
    );
    problems.require(
        notes().any(|section| section.offset.saturating_add(section.size_bytes) == segment.end_offset()),
        indexed.field("p_filesz"),
        "the end of a note section",
        Hex(segment.end_offset()),
    );
}

/// Go has a PT_NOTE for one of its notes only, so one is enough.
fn notes_in_segments(segments: &[Segment], sections: &[Section], problems: &mut Problems) {
    let is_note = |section: &&Section| {
        section.kind_number == SHT_NOTE && section.is_allocated() && section.size_bytes > 0
    };
    if let Some(section) = sections.iter().find(is_note) {
        problems.require(
            segments.iter().any(|segment| segment.kind_number == PT_NOTE),
            "PT_NOTE",
            format_args!("one, for `{}`", section.name),
            "none",
        );
    }
}

fn named(
    segments: &[Segment],
    sections: &[Section],
    kind: u32,
    kind_name: &str,
    is_it: IsSection,
    problems: &mut Problems,
) {
    let segment = segments.iter().enumerate().find(|(_, segment)| segment.kind_number == kind);
    let section = sections.iter().find(|section| section.is_allocated() && is_it(section));
    // Older linkers write the note of processor features without its segment.
    if kind == PT_GNU_PROPERTY && segment.is_none() {
        return;
    }
    let (Some((index, segment)), Some(section)) = (segment, section) else {
        let name = section.map_or("no section", |section| section.name.as_str());
        return problems.require(
            segment.is_none() && section.is_none(),
            kind_name,
            "a segment and its section",
            format_args!("{}, {name}", if segment.is_some() { "a segment" } else { "no segment" }),
        );
    };
    let indexed = IndexedSegment { index, segment };
    let fields = [
        ("p_offset", section.offset, segment.offset),
        ("p_vaddr", section.address, segment.address),
        ("p_memsz", section.size_bytes, segment.memory_size_bytes),
    ];
    for (field, expected, found) in fields {
        problems.require(
            expected == found,
            indexed.field(field),
            format_args!("{expected:#x}, as of `{}`", section.name),
            Hex(found),
        );
    }
}
