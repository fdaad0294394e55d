//! Combines both readings, the UPX layout and the derived facts.

use serde::Serialize;

use crate::bytes::Words;
use crate::elf::cross_check;
use crate::elf::error::FactsError;
use crate::elf::notes::{self, Note, ProcessorFeatures};
use crate::elf::parsed::{ParsedElf, is_debug_only};
use crate::elf::symbols::SymbolTable;
use crate::elf::types::{DebugLink, Dynamic, Header, PT_LOAD, Section, Segment, stack_segments};
use crate::elf::versions::NeededVersion;
use crate::facts::address_table::{self, AddressTable};
use crate::facts::code_arrays::{self, CodeArray};
use crate::facts::contents::{self, AuditableDependencies};
use crate::facts::entry::{self, EntryPoint};
use crate::facts::file_kind::{self, FileKind};
use crate::facts::file_map::FileMap;
use crate::facts::hardening::{self, Hardening};
use crate::facts::local_paths::{LocalPathSearch, LocalPaths};
use crate::facts::relro::{self, Relro};
use crate::facts::unwind_table::UnwindTable;
use crate::upx::{self, UpxFacts};

/// Everything that the rules use.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    /// Size of the file.
    pub size_bytes: u64,
    /// ELF header.
    pub header: Header,
    /// Kind of file, derived from several structures.
    pub kind: FileKind,
    /// The structures from which `kind` is derived.
    pub kind_reason: &'static str,
    /// Program headers.
    pub segments: Vec<Segment>,
    /// Extent of the memory that becomes read-only after relocation.
    pub relro: Relro,
    /// Empty when the section header table is missing, as in every packed file.
    pub sections: Vec<Section>,
    /// Path of the run-time loader, from `PT_INTERP`.
    pub interpreter: Option<String>,
    /// Dynamic section.
    pub dynamic: Option<Dynamic>,
    /// Symbol versions that shared libraries must provide.
    pub needed_versions: Vec<NeededVersion>,
    /// Loaded relocations whose value a resolver computes at the start of the program (`R_*_IRELATIVE`).
    pub irelative_relocations: u64,
    /// Notes.
    pub notes: Vec<Note>,
    /// IBT, SHSTK, BTI and PAC, from the notes.
    pub features: ProcessorFeatures,
    /// Lower-case hexadecimal digits.
    pub build_id: Option<String>,
    /// `.gnu_debuglink`.
    pub debug_link: Option<DebugLink>,
    /// A split debug file: loadable sections have no contents, and segments refer to no bytes.
    pub is_debug_only: bool,
    /// `.symtab`.
    pub symbols: Option<SymbolTable>,
    /// `.dynsym`: the symbols that the loader binds. `strip` keeps it.
    pub dynamic_symbols: Option<SymbolTable>,
    /// Traces of stack canaries and checked string functions.
    pub hardening: Hardening,
    /// Compilers and linkers, from `.comment`.
    pub producers: Vec<String>,
    /// Dependency list of `cargo auditable`.
    pub auditable: Option<AuditableDependencies>,
    /// Paths of a build machine, outside of debug sections.
    pub local_paths: LocalPaths,
    /// Paths of a build machine in debug sections that are not compressed.
    #[serde(skip_serializing_if = "LocalPaths::is_empty")]
    pub debug_paths: LocalPaths,
    /// Bytes outside of all headers, tables, sections and segments.
    pub file_map: FileMap,
    /// The code at the entry point.
    pub entry_point: EntryPoint,
    /// `.eh_frame_hdr`.
    pub unwind_table: Option<UnwindTable>,
    /// `.init_array` and its relatives.
    pub code_arrays: Vec<CodeArray>,
    /// `.got` of a program that no loader relocates.
    pub address_table: Option<AddressTable>,
    /// Layout that UPX wrote around the original file.
    pub upx: Option<UpxFacts>,
}

impl Facts {
    /// The `PT_GNU_STACK` segments.
    pub fn stack_segments(&self) -> Vec<&Segment> {
        stack_segments(&self.segments)
    }

    /// The first section with that name.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

/// Reads an ELF file of either class and byte order.
///
/// ```
/// # let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/elf/static-pie")).unwrap();
/// let facts = elf_facts::facts::inspect(&bytes)?;
/// assert_eq!(facts.header.machine, "x86_64");
/// assert_eq!(facts.kind, elf_facts::facts::FileKind::StaticPie);
/// assert!(elf_facts::facts::inspect(b"text").is_err());
/// # Ok::<(), elf_facts::facts::FactsError>(())
/// ```
pub fn inspect(bytes: &[u8]) -> Result<Facts, FactsError> {
    inspect_for(bytes, LocalPathSearch::default_prefixes())
}

/// Like [`inspect`], with other path prefixes to search for.
pub fn inspect_for(bytes: &[u8], local_paths: &LocalPathSearch) -> Result<Facts, FactsError> {
    let elf = cross_check::read_twice(bytes)?;
    let upx = upx::detect(bytes, &elf.header, &elf.segments, elf.sections.is_empty());
    let is_debug_only = is_debug_only(&elf.sections);
    require_complete(bytes, &elf, is_debug_only, upx.is_some())?;
    let Header { machine_number, class_bits, is_little_endian, .. } = elf.header;
    let (kind, kind_reason) =
        file_kind::classify(&elf.header, elf.interpreter.as_deref(), elf.dynamic.as_ref(), is_debug_only);
    let words = Words { bytes, is_little_endian, class_bits };
    // The segments of a debug file have no contents.
    let loaded = if is_debug_only { &[][..] } else { &elf.segments[..] };
    let unwind_table = UnwindTable::read(words, loaded);
    let entry_point =
        entry::entry_point(words, &elf.header, loaded, elf.symbols.as_deref(), unwind_table.as_ref());
    let symbols = elf.symbols.map(|symbols| SymbolTable::from_symbols(&symbols));
    let dynamic_symbols = elf.dynamic_symbols.map(|symbols| SymbolTable::from_symbols(&symbols));
    let has_code = elf.sections.is_empty()
        || elf.sections.iter().any(|section| section.is_executable() && section.size_bytes > 0);
    let versions = elf.needed_versions.into_iter();
    Ok(Facts {
        size_bytes: bytes.len() as u64,
        kind,
        kind_reason,
        relro: relro::relro(&elf.segments, elf.dynamic.as_ref()),
        needed_versions: versions.map(|(library, version)| NeededVersion { library, version }).collect(),
        irelative_relocations: elf.irelative_relocations,
        features: notes::features(&elf.notes, machine_number, class_bits, is_little_endian),
        build_id: notes::build_id(&elf.notes),
        notes: notes::to_facts(&elf.notes),
        is_debug_only,
        hardening: hardening::hardening(kind, has_code, symbols.as_ref(), dynamic_symbols.as_ref()),
        producers: contents::producers(bytes, &elf.sections),
        auditable: contents::auditable(bytes, &elf.sections),
        local_paths: local_paths.outside_of_debug_sections(bytes, &elf.sections),
        debug_paths: local_paths.in_debug_sections(bytes, &elf.sections),
        file_map: FileMap::new(bytes, &elf.header, loaded, &elf.sections),
        entry_point,
        unwind_table,
        code_arrays: code_arrays::code_arrays(words, loaded, &elf.sections),
        address_table: address_table::address_table(
            words,
            kind == FileKind::StaticExecutable && address_table::is_supported(machine_number),
            loaded,
            &elf.sections,
        ),
        symbols,
        dynamic_symbols,
        header: elf.header,
        segments: elf.segments,
        sections: elf.sections,
        interpreter: elf.interpreter,
        dynamic: elf.dynamic,
        debug_link: elf.debug_link,
        upx,
    })
}

/// Rejects tables and segments that end beyond the file. Neither library checks that, and the kernel only at run time.
fn require_complete(
    bytes: &[u8],
    elf: &ParsedElf,
    is_debug_only: bool,
    is_packed: bool,
) -> Result<(), FactsError> {
    let found_bytes = bytes.len() as u64;
    let within_file = |what: String, offset: u64, size: u64| match offset.checked_add(size) {
        Some(end) if end <= found_bytes => Ok(()),
        end => Err(FactsError::Truncated { what, needed_bytes: end.unwrap_or(u64::MAX), found_bytes }),
    };
    for (index, segment) in elf.segments.iter().enumerate() {
        // UPX rounds the file size of its first PT_LOAD up to a page; its own trailer shows whether bytes are missing.
        let is_checked = segment.kind_number == PT_LOAD && !is_debug_only && !is_packed;
        if is_checked && segment.file_size_bytes > 0 {
            within_file(format!("segment {index} (PT_LOAD)"), segment.offset, segment.file_size_bytes)?;
        }
    }
    for (index, section) in elf.sections.iter().enumerate() {
        if section.has_contents() && section.kind_number != 0 {
            within_file(format!("section {index} `{}`", section.name), section.offset, section.size_bytes)?;
        }
    }
    Ok(())
}
