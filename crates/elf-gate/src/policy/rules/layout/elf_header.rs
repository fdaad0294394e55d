//! The ELF header: each field has a value that all linkers write.

use elf_facts::facts::{ElfType, Header, HeaderFields, Section};

use crate::policy::rules::layout::problems::{Hex, Problems};

/// What is known about the file beside its header.
pub(super) struct Scope<'a> {
    pub(super) file_bytes: Option<u64>,
    /// `None` when the section headers are not at hand: the original of a packed file.
    pub(super) sections: Option<&'a [Section]>,
    pub(super) is_object: bool,
    pub(super) is_debug_file: bool,
}

/// A machine for which Linux loads programs: number, class, and byte order (`None`: both).
struct Machine {
    number: u16,
    class_bits: &'static [u8],
    is_little_endian: Option<bool>,
    /// `e_flags` is always 0.
    has_no_flags: bool,
}

const fn machine(
    number: u16,
    class_bits: &'static [u8],
    is_little_endian: Option<bool>,
    has_no_flags: bool,
) -> Machine {
    Machine { number, class_bits, is_little_endian, has_no_flags }
}

const MACHINES: &[Machine] = &[
    machine(2, &[32], Some(false), false),      // sparc
    machine(3, &[32], Some(true), true),        // i386
    machine(4, &[32], Some(false), false),      // m68k
    machine(8, &[32, 64], None, false),         // mips
    machine(15, &[32, 64], Some(false), false), // parisc
    machine(18, &[32], Some(false), false),     // sparc32plus
    machine(20, &[32], None, false),            // powerpc
    machine(21, &[64], None, false),            // powerpc64
    machine(22, &[32, 64], Some(false), false), // s390
    machine(40, &[32], None, false),            // arm
    machine(42, &[32], None, false),            // sh
    machine(43, &[64], Some(false), false),     // sparcv9
    machine(50, &[64], Some(true), false),      // ia64
    machine(62, &[32, 64], Some(true), true),   // x86_64, and x32
    machine(92, &[32], Some(false), false),     // or1k
    machine(94, &[32], None, false),            // xtensa
    machine(183, &[32, 64], None, true),        // aarch64
    machine(189, &[32], None, false),           // microblaze
    machine(243, &[32, 64], Some(true), false), // riscv
    machine(252, &[32], Some(true), false),     // csky
    machine(258, &[32, 64], Some(true), false), // loongarch
    machine(0x9026, &[64], Some(true), false),  // alpha
];

pub(super) fn check(header: &Header, scope: &Scope, problems: &mut Problems) {
    let fields = &header.fields;
    identification(header, problems);
    kind(header, scope, problems);
    machine_fits(header, scope, problems);
    let is_64 = header.class_bits == 64;
    let header_bytes: u16 = if is_64 { 64 } else { 52 };
    problems.require(fields.header_bytes == header_bytes, "e_ehsize", header_bytes, fields.header_bytes);
    program_header_table(header, scope, header_bytes.into(), problems);
    section_header_table(header, scope, header_bytes.into(), problems);
}

fn identification(header: &Header, problems: &mut Problems) {
    // GNU extensions of other machines raise the version of the ABI; on these it is 0.
    let abi_version = header.fields.ident[8];
    let is_versioned = header.machine_number == 8 || !matches!(header.os_abi, 0 | 3);
    problems.require(abi_version == 0 || is_versioned, "EI_ABIVERSION", 0, abi_version);
    const ARM: u16 = 40;
    let is_known = matches!(header.os_abi, 0 | 3) || header.machine_number == ARM;
    problems.require(is_known, "EI_OSABI", "sysv or gnu", elf_facts::facts::abi(header.os_abi));
    problems.require(header.fields.ident[6] == 1, "EI_VERSION", 1, header.fields.ident[6]);
    let padding = &header.fields.ident[9..];
    problems.require(
        padding.iter().all(|&byte| byte == 0),
        "padding of e_ident",
        "zeros",
        elf_facts::bytes::hex(padding),
    );
    problems.require(header.fields.version == 1, "e_version", 1, header.fields.version);
}

fn kind(header: &Header, scope: &Scope, problems: &mut Problems) {
    let is_expected = match header.elf_type {
        ElfType::Relocatable => scope.is_object || scope.is_debug_file,
        ElfType::Executable | ElfType::Dynamic => true,
        ElfType::Core | ElfType::Other => false,
    };
    let type_number = header.fields.type_number;
    problems.require(is_expected, "e_type", "ET_EXEC, ET_DYN, or ET_REL for an object", type_number);
}

fn machine_fits(header: &Header, scope: &Scope, problems: &mut Problems) {
    // Linux loads objects for its virtual machine, and no programs.
    const BPF: u16 = 247;
    if header.machine_number == BPF && scope.is_object {
        return;
    }
    let Some(machine) = MACHINES.iter().find(|machine| machine.number == header.machine_number) else {
        return problems
            .add(format_args!("e_machine: expected a machine of Linux, found {}", header.machine_number));
    };
    let name = &header.machine;
    problems.require(
        machine.class_bits.contains(&header.class_bits),
        "EI_CLASS",
        format_args!("a class of {name}"),
        format_args!("{} bits", header.class_bits),
    );
    let order = |is_little: bool| if is_little { "little-endian" } else { "big-endian" };
    problems.require(
        machine.is_little_endian.is_none_or(|is_little| is_little == header.is_little_endian),
        "EI_DATA",
        format_args!("the byte order of {name}"),
        order(header.is_little_endian),
    );
    let flags = header.fields.flags;
    problems.require(
        !machine.has_no_flags || flags == 0,
        "e_flags",
        format_args!("0 on {name}"),
        Hex(flags.into()),
    );
}

fn program_header_table(header: &Header, scope: &Scope, header_bytes: u64, problems: &mut Problems) {
    let HeaderFields { program_headers_offset: offset, program_header_bytes, program_header_count, .. } =
        header.fields;
    let entry_bytes: u16 = if header.class_bits == 64 { 56 } else { 32 };
    if program_header_count == 0 {
        let is_program = !scope.is_object && !scope.is_debug_file;
        problems.require(!is_program, "e_phnum", "the number of program headers", 0);
        problems.require(offset == 0, "e_phoff", "0 without program headers", Hex(offset));
        return;
    }
    problems.require(program_header_bytes == entry_bytes, "e_phentsize", entry_bytes, program_header_bytes);
    // Linux reads a table of at most one page.
    const TABLE_BYTES_MAX: u64 = 4096;
    let table_bytes = u64::from(entry_bytes) * u64::from(program_header_count);
    problems.require(
        scope.is_debug_file || table_bytes <= TABLE_BYTES_MAX,
        "e_phnum",
        format_args!("at most {}, one page", TABLE_BYTES_MAX / u64::from(entry_bytes)),
        program_header_count,
    );
    let align = u64::from(header.class_bits / 8);
    problems.require(
        offset >= header_bytes && offset.is_multiple_of(align),
        "e_phoff",
        format_args!("a multiple of {align} after the ELF header"),
        Hex(offset),
    );
}

fn section_header_table(header: &Header, scope: &Scope, header_bytes: u64, problems: &mut Problems) {
    const LARGEST_COUNT: usize = 0xff00;
    const SHT_STRTAB: u32 = 3;
    let HeaderFields {
        section_headers_offset: offset,
        section_header_bytes,
        section_header_count,
        section_names_index,
        ..
    } = header.fields;
    let entry_bytes: u16 = if header.class_bits == 64 { 64 } else { 40 };
    if offset == 0 {
        problems.require(
            section_header_count == 0,
            "e_shnum",
            "0 without section headers",
            section_header_count,
        );
        problems.require(
            section_names_index == 0,
            "e_shstrndx",
            "0 without section headers",
            section_names_index,
        );
        let is_usual = section_header_bytes == 0 || section_header_bytes == entry_bytes;
        problems.require(is_usual, "e_shentsize", format_args!("0 or {entry_bytes}"), section_header_bytes);
        return;
    }
    problems.require(section_header_bytes == entry_bytes, "e_shentsize", entry_bytes, section_header_bytes);
    let align = u64::from(header.class_bits / 8);
    problems.require(
        offset >= header_bytes && offset.is_multiple_of(align),
        "e_shoff",
        format_args!("a multiple of {align} after the ELF header"),
        Hex(offset),
    );
    if let Some(file_bytes) = scope.file_bytes {
        let table_bytes = u64::from(entry_bytes) * u64::from(section_header_count);
        let is_inside = offset.checked_add(table_bytes).is_some_and(|end| end <= file_bytes);
        problems.require(
            is_inside,
            "e_shoff",
            format_args!("a table within {file_bytes} bytes"),
            Hex(offset),
        );
    }
    let Some(sections) = scope.sections else { return };
    // The count of more sections is in the first section header.
    let is_extended = section_header_count == 0 && sections.len() >= LARGEST_COUNT;
    problems.require(
        is_extended || usize::from(section_header_count) == sections.len() && section_header_count > 0,
        "e_shnum",
        "the number of section headers",
        section_header_count,
    );
    let Some(first) = sections.first() else { return };
    let is_null =
        first.kind_number == 0 && first.flags_number == 0 && first.address == 0 && first.offset == 0;
    problems.require(
        is_null,
        "section 0",
        "a header of type SHT_NULL",
        format_args!("type {}", first.kind_number),
    );
    let index = if section_names_index == 0xffff { first.link } else { section_names_index.into() };
    let names = sections.get(index as usize);
    let holds_names = names.is_some_and(|names| {
        // Some linkers put all names into one table.
        names.kind_number == SHT_STRTAB && matches!(names.name.as_str(), ".shstrtab" | ".strtab")
    });
    problems.require(holds_names, "e_shstrndx", "the string table of section names", index);
}
