//! Program headers against each other and against the ELF header, as Linux and the start code of a libc use them.

use elf_facts::facts::{
    FileKind, Header, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_PROPERTY, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP,
    PT_LOAD, PT_NOTE, PT_PHDR, PT_TLS, Segment,
};

use crate::policy::rules::layout::problems::{Hex, Problems};

pub(super) const PAGE_BYTES: u64 = 4096;
const PT_NULL: u32 = 0;
/// Types of other tools: exception tables, attributes of processors, flags of PaX, stack traces.
const PT_GNU_SFRAME: u32 = 0x6474_e554;
const PT_PAX_FLAGS: u32 = 0x6504_1580;
/// `PT_LOPROC`..`PT_HIPROC`.
const OF_PROCESSOR: std::ops::RangeInclusive<u32> = 0x7000_0000..=0x7fff_ffff;
/// x86 defines no such types that a linker writes for Linux.
const WITHOUT_PROCESSOR_TYPES: [u16; 2] = [3, 62];

/// Types that a loader expects at most once.
const SINGLE: [u32; 8] =
    [PT_INTERP, PT_PHDR, PT_TLS, PT_GNU_STACK, PT_DYNAMIC, PT_GNU_RELRO, PT_GNU_EH_FRAME, PT_GNU_PROPERTY];

/// Linux accepts a table of 64 KiB. The bound also stops quadratic time.
const SEGMENTS_MAX: usize = (64 << 10) / 56;

pub(super) fn check(header: &Header, segments: &[Segment], is_static: bool, problems: &mut Problems) {
    if segments.len() > SEGMENTS_MAX {
        return problems.require(false, "e_phnum", format_args!("at most {SEGMENTS_MAX}"), segments.len());
    }
    for (index, segment) in segments.iter().enumerate() {
        let indexed = IndexedSegment { index, segment };
        known_type(header, indexed, problems);
        own_fields(header, indexed, problems);
    }
    for kind in SINGLE {
        let mut found = segments.iter().filter(|segment| segment.kind_number == kind);
        if let (Some(first), count @ 1..) = (found.next(), found.count()) {
            problems.require(false, &first.kind, "one", count + 1);
        }
    }
    loads(header, segments, problems);
    for (index, segment) in segments.iter().enumerate() {
        inside_of_load(IndexedSegment { index, segment }, segments, problems);
    }
    program_header_table(header, segments, is_static, problems);
}

/// What the kind of a file requires.
pub(super) fn check_kind(kind: FileKind, segments: &[Segment], problems: &mut Problems) {
    let is_position_independent =
        matches!(kind, FileKind::StaticPie | FileKind::Pie | FileKind::SharedObject | FileKind::Undecided);
    let has_dynamic = segments.iter().any(|segment| segment.kind_number == PT_DYNAMIC);
    problems.require(
        has_dynamic || !is_position_independent,
        "PT_DYNAMIC",
        "one in a file of type ET_DYN, for its relocations",
        "none",
    );
}

/// Every segment lies in the file.
pub(super) fn check_file_ranges(segments: &[Segment], file_bytes: u64, problems: &mut Problems) {
    for (index, segment) in segments.iter().enumerate() {
        let end = segment.offset.checked_add(segment.file_size_bytes);
        let is_used = segment.file_size_bytes > 0 || segment.kind_number == PT_LOAD;
        let is_inside = !is_used || end.is_some_and(|end| end <= file_bytes);
        problems.require(
            is_inside,
            IndexedSegment { index, segment }.field("p_offset"),
            format_args!("an end within {file_bytes} bytes"),
            Hex(segment.end_offset()),
        );
    }
}

/// A segment with its index, for messages.
#[derive(Clone, Copy)]
pub(super) struct IndexedSegment<'a> {
    pub(super) index: usize,
    pub(super) segment: &'a Segment,
}

impl IndexedSegment<'_> {
    /// `segment 3 (PT_TLS) p_filesz`.
    pub(super) fn field(self, name: &str) -> impl std::fmt::Display {
        std::fmt::from_fn(move |f| write!(f, "segment {} ({}) {name}", self.index, self.segment.kind))
    }
}

fn known_type(header: &Header, indexed: IndexedSegment, problems: &mut Problems) {
    let kind = indexed.segment.kind_number;
    let is_of_processor =
        OF_PROCESSOR.contains(&kind) && !WITHOUT_PROCESSOR_TYPES.contains(&header.machine_number);
    let is_known = matches!(kind, PT_NULL | PT_LOAD | PT_NOTE | PT_GNU_SFRAME | PT_PAX_FLAGS)
        || SINGLE.contains(&kind)
        || is_of_processor;
    problems.require(is_known, indexed.field("p_type"), "a known type", Hex(kind.into()));
}

/// Fields that have a meaning without the other segments.
fn own_fields(header: &Header, indexed: IndexedSegment, problems: &mut Problems) {
    let segment = indexed.segment;
    let kind = segment.kind_number;
    // Tools that remove a segment leave its other fields.
    if kind == PT_NULL {
        return;
    }
    let flags = segment.flags_number;
    let known_flags = if kind == PT_PAX_FLAGS { u32::MAX } else { 0b111 };
    problems.require(
        flags & !known_flags == 0,
        indexed.field("p_flags"),
        "only r, w and x",
        Hex(flags.into()),
    );
    let align = segment.align;
    problems.require(
        align == 0 || align.is_power_of_two(),
        indexed.field("p_align"),
        "a power of two",
        Hex(align),
    );
    let physical = segment.physical_address;
    problems.require(
        physical == segment.address || physical == 0,
        indexed.field("p_paddr"),
        format_args!("p_vaddr {:#x}", segment.address),
        Hex(physical),
    );
    if matches!(kind, PT_GNU_STACK | PT_PAX_FLAGS) {
        for (name, value) in [
            ("p_offset", segment.offset),
            ("p_vaddr", segment.address),
            ("p_filesz", segment.file_size_bytes),
        ] {
            problems.require(value == 0, indexed.field(name), "0", Hex(value));
        }
        const STACK_ALIGN_MAX: u64 = 64;
        problems.require(align <= STACK_ALIGN_MAX, indexed.field("p_align"), "at most 64", Hex(align));
        return;
    }
    let (in_file, in_memory) = (segment.file_size_bytes, segment.memory_size_bytes);
    problems.require(
        in_file <= in_memory,
        indexed.field("p_filesz"),
        format_args!("at most p_memsz {in_memory:#x}"),
        Hex(in_file),
    );
    let limit = address_limit(header);
    let end = segment.address.checked_add(in_memory);
    problems.require(
        end.is_some_and(|end| end <= limit),
        indexed.field("p_vaddr"),
        format_args!("an end of at most {limit:#x}"),
        Hex(segment.end_address()),
    );
    // Only PT_LOAD, PT_TLS and PT_GNU_RELRO have memory beyond their bytes.
    let has_zeros = matches!(kind, PT_LOAD | PT_TLS | PT_GNU_RELRO);
    problems.require(
        has_zeros || in_file == in_memory,
        indexed.field("p_memsz"),
        format_args!("p_filesz {in_file:#x}"),
        Hex(in_memory),
    );
}

/// The end of the addresses of a process.
fn address_limit(header: &Header) -> u64 {
    const X86_64: u16 = 62;
    match (header.class_bits, header.machine_number) {
        (32, _) => 1 << 32,
        (_, X86_64) => (1 << 47) - PAGE_BYTES,
        // 52 bits are opt-in for a program.
        _ => 1 << 48,
    }
}

fn loads(header: &Header, segments: &[Segment], problems: &mut Problems) {
    let loads = segments.iter().enumerate().filter(|(_, segment)| segment.kind_number == PT_LOAD);
    let mut previous: Option<IndexedSegment> = None;
    for (index, segment) in loads {
        let indexed = IndexedSegment { index, segment };
        problems.require(
            segment.flags_number & 4 != 0,
            indexed.field("p_flags"),
            "r among them",
            &segment.flags,
        );
        // Linux rounds both down to a page and maps one at the other.
        let align = if segment.align.is_power_of_two() { segment.align.max(1) } else { 1 };
        let pages = align.max(PAGE_BYTES);
        let is_congruent = |unit: u64| segment.offset % unit == segment.address % unit;
        // Without bytes it still maps the page before the first address, unless that is the start of a page.
        let unit = if segment.file_size_bytes == 0 { align.min(PAGE_BYTES) } else { pages };
        let maps_nothing = segment.file_size_bytes == 0 && segment.address.is_multiple_of(PAGE_BYTES);
        problems.require(
            maps_nothing || is_congruent(unit),
            indexed.field("p_offset"),
            format_args!("p_vaddr {:#x} modulo {unit:#x}", segment.address),
            Hex(segment.offset),
        );
        // Linux clears the rest of the last page; older versions fail when it is read-only.
        problems.require(
            segment.is_writable() || segment.file_size_bytes >= segment.memory_size_bytes,
            indexed.field("p_memsz"),
            format_args!("p_filesz {:#x} in a read-only segment", segment.file_size_bytes),
            Hex(segment.memory_size_bytes),
        );
        if let Some(previous) = previous {
            let end = previous.segment.end_address();
            problems.require(
                segment.address >= end,
                indexed.field("p_vaddr"),
                format_args!("an address from {end:#x} on, after segment {}", previous.index),
                Hex(segment.address),
            );
            let last_page = end.saturating_sub(1) / PAGE_BYTES;
            let shares_page = segment.memory_size_bytes > 0
                && previous.segment.memory_size_bytes > 0
                && segment.address / PAGE_BYTES == last_page;
            problems.require(
                !shares_page || segment.flags_number == previous.segment.flags_number,
                indexed.field("p_vaddr"),
                format_args!(
                    "another page than the end of segment {}, which has other flags",
                    previous.index
                ),
                Hex(segment.address),
            );
        }
        previous = Some(indexed);
    }
    let lowest = segments.iter().filter(|s| s.kind_number == PT_LOAD).map(|s| s.address).min();
    // Linux maps nothing there without privileges (vm.mmap_min_addr).
    const LOWEST_ADDRESS: u64 = 0x1_0000;
    let is_fixed = header.elf_type == elf_facts::facts::ElfType::Executable;
    match lowest {
        None => problems.require(false, "PT_LOAD", "at least one", "none"),
        Some(lowest) => problems.require(
            !is_fixed || lowest >= LOWEST_ADDRESS,
            "lowest p_vaddr",
            format_args!("at least {LOWEST_ADDRESS:#x}"),
            Hex(lowest),
        ),
    }
}

/// Everything that is used at run time is a part of a PT_LOAD, at the same distance of offset and address.
fn inside_of_load(indexed: IndexedSegment, segments: &[Segment], problems: &mut Problems) {
    let segment = indexed.segment;
    let is_used = SINGLE.contains(&segment.kind_number) || segment.kind_number == PT_NOTE;
    if !is_used || segment.kind_number == PT_GNU_STACK || segment.memory_size_bytes == 0 {
        return;
    }
    // A note of a debugger may be left unloaded, with address 0.
    if segment.kind_number == PT_NOTE && segment.address == 0 {
        return;
    }
    // The variables of each thread are allocated elsewhere: only their initial contents are loaded.
    let bytes = match segment.kind_number {
        PT_TLS => segment.file_size_bytes,
        _ => segment.memory_size_bytes,
    };
    let loads = || segments.iter().filter(|load| load.kind_number == PT_LOAD);
    if bytes == 0 {
        return;
    }
    let end = segment.address.saturating_add(bytes);
    let round = |end: u64| end.checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX);
    let load = loads().find(|load| {
        let load_end = match segment.kind_number {
            // Protection ends at a page.
            PT_GNU_RELRO => round(load.end_address()),
            _ => load.end_address(),
        };
        load.address <= segment.address && end <= load_end
    });
    let Some(load) = load else {
        return problems.require(
            false,
            indexed.field("p_vaddr"),
            "a range inside of a PT_LOAD",
            format_args!("{:#x}..{end:#x}", segment.address),
        );
    };
    if segment.file_size_bytes > 0 {
        let expected = load.offset.wrapping_add(segment.address - load.address);
        problems.require(
            segment.offset == expected,
            indexed.field("p_offset"),
            format_args!("{expected:#x}, where p_vaddr is loaded from"),
            Hex(segment.offset),
        );
        // lld ends PT_GNU_RELRO at a page also in the file.
        let load_end =
            if segment.kind_number == PT_GNU_RELRO { round(load.end_offset()) } else { load.end_offset() };
        problems.require(
            segment.end_offset() <= load_end,
            indexed.field("p_filesz"),
            format_args!("an end within the bytes of its PT_LOAD, {:#x}", load.end_offset()),
            Hex(segment.end_offset()),
        );
    }
    problems.require(
        segment.kind_number != PT_GNU_RELRO || load.is_writable(),
        indexed.field("p_vaddr"),
        "a range inside of a writable PT_LOAD",
        format_args!("one of {}", load.flags),
    );
}

/// The libc finds the program headers by AT_PHDR, which Linux derives from the PT_LOAD that contains the table.
fn program_header_table(header: &Header, segments: &[Segment], is_static: bool, problems: &mut Problems) {
    let (start, end) = (header.fields.program_headers_offset, header.program_headers_end);
    let table_bytes = end.saturating_sub(start);
    let is_read = is_static
        || segments.iter().any(|segment| matches!(segment.kind_number, PT_PHDR | PT_INTERP | PT_TLS));
    let holds =
        |load: &&Segment| load.kind_number == PT_LOAD && load.offset <= start && end <= load.end_offset();
    problems.require(
        !is_read || segments.iter().any(|load| holds(&load)),
        "program headers",
        "a PT_LOAD that contains them, for AT_PHDR",
        "none",
    );
    let mut seen_load = false;
    for (index, segment) in segments.iter().enumerate() {
        seen_load |= segment.kind_number == PT_LOAD;
        if segment.kind_number != PT_PHDR {
            continue;
        }
        let indexed = IndexedSegment { index, segment };
        problems.require(!seen_load, indexed.field("position"), "before the first PT_LOAD", "after it");
        problems.require(segment.offset == start, indexed.field("p_offset"), Hex(start), Hex(segment.offset));
        problems.require(
            segment.file_size_bytes == table_bytes,
            indexed.field("p_filesz"),
            format_args!("{table_bytes:#x}, the size of the table"),
            Hex(segment.file_size_bytes),
        );
    }
}
