//! The structures of an ELF file. Both readers produce these types, so that their results are compared with `==`.

use serde::Serialize;

/// Segment type: loaded into memory.
pub const PT_LOAD: u32 = 1;
/// Segment type: dynamic section.
pub const PT_DYNAMIC: u32 = 2;
/// Segment type: path of the run-time loader.
pub const PT_INTERP: u32 = 3;
/// Segment type: notes.
pub const PT_NOTE: u32 = 4;
/// Segment type: the program header table itself.
pub const PT_PHDR: u32 = 6;
/// Segment type: initial contents of thread-local variables.
pub const PT_TLS: u32 = 7;
/// Segment type: search table of the unwinder.
pub const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
/// Segment type: flags and size of the stack.
pub const PT_GNU_STACK: u32 = 0x6474_e551;
/// Segment type: range that becomes read-only after relocation.
pub const PT_GNU_RELRO: u32 = 0x6474_e552;
/// Segment type: the note of processor features.
pub const PT_GNU_PROPERTY: u32 = 0x6474_e553;

/// The fields of the ELF header that rules and reports use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// 32 or 64.
    pub class_bits: u8,
    /// Byte order of the file.
    pub is_little_endian: bool,
    /// `e_type`.
    pub elf_type: ElfType,
    /// A common name such as `x86_64`, or the number of an unlisted machine.
    pub machine: String,
    /// `e_machine`.
    pub machine_number: u16,
    /// `EI_OSABI`.
    pub os_abi: u8,
    /// Address of the first instruction.
    pub entry: u64,
    /// File offset of the end of the program header table. UPX writes its own header there.
    pub program_headers_end: u64,
    /// The other fields, as stored.
    pub fields: HeaderFields,
}

/// Fields of the ELF header as they are stored. A loader uses them; readers derive positions and counts from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeaderFields {
    /// `e_ident`.
    pub ident: [u8; 16],
    /// `e_type`.
    pub type_number: u16,
    /// `e_version`.
    pub version: u32,
    /// `e_phoff`.
    pub program_headers_offset: u64,
    /// `e_shoff`.
    pub section_headers_offset: u64,
    /// `e_flags`.
    pub flags: u32,
    /// `e_ehsize`.
    pub header_bytes: u16,
    /// `e_phentsize`.
    pub program_header_bytes: u16,
    /// `e_phnum`.
    pub program_header_count: u16,
    /// `e_shentsize`.
    pub section_header_bytes: u16,
    /// `e_shnum`.
    pub section_header_count: u16,
    /// `e_shstrndx`.
    pub section_names_index: u16,
}

/// `e_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ElfType {
    /// `ET_REL`: an object file.
    Relocatable,
    /// `ET_EXEC`: a program at a fixed address.
    Executable,
    /// `ET_DYN`: a shared object or a position-independent executable.
    Dynamic,
    /// `ET_CORE`: a core dump.
    Core,
    /// Any other number.
    Other,
}

/// A program header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    /// Name of the type, such as `PT_LOAD`, or its number in hexadecimal.
    pub kind: String,
    /// `p_type`.
    pub kind_number: u32,
    /// `rwx` with dashes, in the notation of `ls -l`.
    pub flags: String,
    /// `p_flags`.
    pub flags_number: u32,
    /// `p_offset`.
    pub offset: u64,
    /// `p_vaddr`.
    pub address: u64,
    /// `p_paddr`.
    pub physical_address: u64,
    /// `p_filesz`.
    pub file_size_bytes: u64,
    /// `p_memsz`.
    pub memory_size_bytes: u64,
    /// `p_align`.
    pub align: u64,
}

impl Segment {
    /// `PF_X`.
    pub fn is_executable(&self) -> bool {
        self.flags_number & 1 != 0
    }

    /// `PF_W`.
    pub fn is_writable(&self) -> bool {
        self.flags_number & 2 != 0
    }

    /// The address after the last byte in memory.
    pub fn end_address(&self) -> u64 {
        self.address.saturating_add(self.memory_size_bytes)
    }

    /// The file offset after the last byte.
    pub fn end_offset(&self) -> u64 {
        self.offset.saturating_add(self.file_size_bytes)
    }

    /// The file offset of an address, if the segment loads that byte from the file.
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        let into = address.checked_sub(self.address).filter(|&into| into < self.file_size_bytes)?;
        self.offset.checked_add(into)
    }
}

/// A section header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Section {
    /// Empty when the file has no section names.
    pub name: String,
    /// `sh_type`.
    pub kind_number: u32,
    /// `sh_flags`.
    pub flags_number: u64,
    /// `sh_addr`.
    pub address: u64,
    /// `sh_offset`.
    pub offset: u64,
    /// `sh_size`.
    pub size_bytes: u64,
    /// `sh_link`.
    pub link: u32,
    /// `sh_addralign`.
    pub align: u64,
}

impl Section {
    const SHT_NOBITS: u32 = 8;
    const SHF_WRITE: u64 = 1;
    const SHF_ALLOC: u64 = 2;
    const SHF_EXECINSTR: u64 = 4;
    const SHF_TLS: u64 = 0x400;
    const SHF_COMPRESSED: u64 = 0x800;

    /// `SHF_EXECINSTR`.
    pub fn is_executable(&self) -> bool {
        self.flags_number & Self::SHF_EXECINSTR != 0
    }

    /// `SHF_WRITE`.
    pub fn is_writable(&self) -> bool {
        self.flags_number & Self::SHF_WRITE != 0
    }

    /// `SHF_ALLOC`: part of the running program.
    pub fn is_allocated(&self) -> bool {
        self.flags_number & Self::SHF_ALLOC != 0
    }

    /// `SHF_TLS`: a template for the variables of each thread.
    pub fn is_thread_local(&self) -> bool {
        self.flags_number & Self::SHF_TLS != 0
    }

    /// The address after the last byte in memory.
    pub fn end_address(&self) -> u64 {
        self.address.saturating_add(self.size_bytes)
    }

    /// DWARF sections, compressed or not.
    pub fn is_debug(&self) -> bool {
        self.name.starts_with(".debug_") || self.name.starts_with(".zdebug_")
    }

    /// `SHF_COMPRESSED`, or the older `.zdebug_` name.
    pub fn is_compressed(&self) -> bool {
        self.flags_number & Self::SHF_COMPRESSED != 0 || self.name.starts_with(".zdebug_")
    }

    /// Whether the section occupies bytes of the file.
    pub fn has_contents(&self) -> bool {
        self.kind_number != Self::SHT_NOBITS
    }
}

/// `PT_DYNAMIC`: the entries that the run-time loader acts upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dynamic {
    /// `DT_NEEDED`.
    pub needed: Vec<String>,
    /// `DT_SONAME`.
    pub soname: Option<String>,
    /// `DT_RPATH`.
    pub rpath: Option<String>,
    /// `DT_RUNPATH`.
    pub runpath: Option<String>,
    /// `DT_FLAGS`.
    pub flags: u64,
    /// `DT_FLAGS_1`.
    pub flags_1: u64,
    /// `DT_TEXTREL` or `DF_TEXTREL`.
    pub has_text_relocations: bool,
    /// `DT_BIND_NOW`, `DF_BIND_NOW` or `DF_1_NOW`.
    pub binds_now: bool,
    /// Functions are resolved at their first call, through a table that stays writable.
    pub has_lazy_bindings: bool,
}

/// `.gnu_debuglink`: the file that holds the debug information, and its CRC-32.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebugLink {
    /// File name without a folder.
    pub file_name: String,
    /// CRC-32 of the whole debug file.
    pub crc32: u32,
}

/// The `PT_GNU_STACK` segments.
pub fn stack_segments(segments: &[Segment]) -> Vec<&Segment> {
    segments.iter().filter(|segment| segment.kind_number == PT_GNU_STACK).collect()
}
