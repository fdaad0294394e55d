//! What an ELF file says about itself: [`inspect`] turns bytes into [`Facts`], and knows no rule.
//!
//! Two libraries read the same bytes independently. Hostile or damaged files are where readers differ, and a gate
//! that trusts one reader can be shown one thing while the loader sees another: a disagreement is an error.
//!
//! It deliberately does not judge, and it does not run or unpack anything (of a packed file only the first block,
//! which holds the original program headers, is decompressed).

mod agree;
mod contents;
mod demangle;
mod dynamic;
mod error;
mod form;
mod goblin_reading;
mod hardening;
mod local_paths;
mod names;
mod notes;
mod object_reading;
mod relro;
mod symbols;
mod versions;

use serde::Serialize;

pub use contents::AuditableDependencies;
pub use demangle::demangle;
pub use error::FactsError;
pub use form::Form;
pub use hardening::{Hardening, Protection};
pub use local_paths::{LOCAL_PATH_PREFIXES, LocalPath, LocalPathSearch, LocalPaths};
pub use names::abi;
pub use notes::{Note, ProcessorFeatures};
pub use relro::Relro;
pub use symbols::{NamedSymbol, Symbol, SymbolTable};
pub use versions::NeededVersion;

use crate::upx::{self, UpxFacts};

pub const PT_LOAD: u32 = 1;
pub const PT_DYNAMIC: u32 = 2;
pub const PT_INTERP: u32 = 3;
pub const PT_NOTE: u32 = 4;
pub const PT_GNU_STACK: u32 = 0x6474_e551;
pub const PT_GNU_RELRO: u32 = 0x6474_e552;

/// Everything that the rules look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Facts {
    pub size_bytes: u64,
    pub header: Header,
    pub form: Form,
    /// What `form` was told by.
    pub form_because: &'static str,
    pub segments: Vec<Segment>,
    pub relro: Relro,
    /// Empty when the section header table is gone, as in every packed file.
    pub sections: Vec<Section>,
    pub interpreter: Option<String>,
    pub dynamic: Option<Dynamic>,
    pub needed_versions: Vec<NeededVersion>,
    pub notes: Vec<Note>,
    pub features: ProcessorFeatures,
    /// Lower-case hex.
    pub build_id: Option<String>,
    pub debug_link: Option<DebugLink>,
    /// A split debug file: the sections that would be loaded have no contents here, so segments point at nothing.
    pub is_debug_only: bool,
    /// `.symtab`, or nothing when the file has none.
    pub symbols: Option<SymbolTable>,
    /// `.dynsym`: what the loader binds. `strip` leaves it.
    pub dynamic_symbols: Option<SymbolTable>,
    pub hardening: Hardening,
    /// Compilers and linkers, from `.comment`.
    pub producers: Vec<String>,
    pub auditable: Option<AuditableDependencies>,
    pub local_paths: LocalPaths,
    pub upx: Option<UpxFacts>,
}

/// The ELF header, as far as rules and reports need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    pub class_bits: u8,
    pub is_little_endian: bool,
    pub kind: Kind,
    /// A common name such as `x86_64`, or the number when it has none here.
    pub machine: String,
    pub machine_number: u16,
    pub os_abi: u8,
    pub entry: u64,
    /// Where the program header table ends; UPX puts its own header right there.
    pub program_headers_end: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Relocatable,
    /// ET_EXEC: fixed address.
    Executable,
    /// ET_DYN: a shared object, or a position-independent executable.
    Dynamic,
    Core,
    Other,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Segment {
    pub kind: String,
    pub kind_number: u32,
    /// `rwx` with dashes, as `ls -l` writes it.
    pub flags: String,
    pub flags_number: u32,
    pub offset: u64,
    pub address: u64,
    pub file_size_bytes: u64,
    pub memory_size_bytes: u64,
    pub align: u64,
}

impl Segment {
    pub fn is_executable(&self) -> bool {
        self.flags_number & 1 != 0
    }

    pub fn is_writable(&self) -> bool {
        self.flags_number & 2 != 0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Section {
    pub name: String,
    pub kind_number: u32,
    pub flags_number: u64,
    pub offset: u64,
    pub size_bytes: u64,
    pub link: u32,
}

impl Section {
    const SHT_NOBITS: u32 = 8;
    const SHF_WRITE: u64 = 1;
    const SHF_EXECINSTR: u64 = 4;

    pub fn is_executable(&self) -> bool {
        self.flags_number & Self::SHF_EXECINSTR != 0
    }

    pub fn is_writable(&self) -> bool {
        self.flags_number & Self::SHF_WRITE != 0
    }

    pub fn is_debug(&self) -> bool {
        self.name.starts_with(".debug_") || self.name.starts_with(".zdebug_")
    }

    pub fn has_contents(&self) -> bool {
        self.kind_number != Self::SHT_NOBITS
    }
}

/// PT_DYNAMIC: what the run-time loader would act upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dynamic {
    pub needed: Vec<String>,
    pub soname: Option<String>,
    pub rpath: Option<String>,
    pub runpath: Option<String>,
    pub flags: u64,
    pub flags_1: u64,
    pub has_text_relocations: bool,
    pub binds_now: bool,
    /// Functions that the loader looks up at their first call, through a table that stays writable.
    pub has_lazy_bindings: bool,
}

/// `.gnu_debuglink`: the file that holds the debug information, and its CRC-32.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DebugLink {
    pub file_name: String,
    pub crc32: u32,
}

impl Facts {
    pub fn stack_segments(&self) -> Vec<&Segment> {
        stack_segments(&self.segments)
    }

    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }
}

pub fn stack_segments(segments: &[Segment]) -> Vec<&Segment> {
    segments.iter().filter(|segment| segment.kind_number == PT_GNU_STACK).collect()
}

/// Reads an ELF file of either class and byte order.
pub fn inspect(bytes: &[u8]) -> Result<Facts, FactsError> {
    inspect_for(bytes, LocalPathSearch::usual())
}

/// As [`inspect`], with places of a build machine of one's own.
pub fn inspect_for(bytes: &[u8], local_paths: &LocalPathSearch) -> Result<Facts, FactsError> {
    error::refuse_what_is_not_elf(bytes)?;
    let reading = agree::read_twice(bytes)?;
    let upx = upx::detect(bytes, &reading.header, &reading.segments, reading.sections.is_empty());
    let is_debug_only = is_debug_only(&reading.sections);
    refuse_truncated(bytes, &reading, is_debug_only, upx.is_some())?;
    let Header { machine_number, class_bits, is_little_endian, .. } = reading.header;
    let (form, form_because) =
        form::form(&reading.header, reading.interpreter.as_deref(), reading.dynamic.as_ref(), is_debug_only);
    let symbols = reading.symbols.map(|symbols| SymbolTable::from_raw(&symbols));
    let dynamic_symbols = reading.dynamic_symbols.map(|symbols| SymbolTable::from_raw(&symbols));
    let has_code = reading.sections.is_empty()
        || reading.sections.iter().any(|section| section.is_executable() && section.size_bytes > 0);
    let versions = reading.needed_versions.into_iter();
    Ok(Facts {
        size_bytes: bytes.len() as u64,
        form,
        form_because,
        relro: relro::relro(&reading.segments, reading.dynamic.as_ref()),
        needed_versions: versions.map(|(library, version)| NeededVersion { library, version }).collect(),
        features: notes::features(&reading.notes, machine_number, class_bits, is_little_endian),
        build_id: notes::build_id(&reading.notes),
        notes: notes::to_facts(&reading.notes),
        is_debug_only,
        hardening: hardening::hardening(form, has_code, symbols.as_ref(), dynamic_symbols.as_ref()),
        producers: contents::producers(bytes, &reading.sections),
        auditable: contents::auditable(bytes, &reading.sections),
        local_paths: local_paths.run(bytes, &reading.sections),
        symbols,
        dynamic_symbols,
        header: reading.header,
        segments: reading.segments,
        sections: reading.sections,
        interpreter: reading.interpreter,
        dynamic: reading.dynamic,
        debug_link: reading.debug_link,
        upx,
    })
}

/// Only the ELF header and the program headers, both readings agreeing: all that is left of the original in the
/// first block of a packed file.
pub(crate) fn inspect_headers(bytes: &[u8]) -> Result<(Header, Vec<Segment>), FactsError> {
    error::refuse_what_is_not_elf(bytes)?;
    agree::read_headers_twice(bytes)
}

/// What one library makes of the bytes. Both produce this type, so that the comparison is a plain `==`.
#[derive(Debug, PartialEq)]
struct Reading<'a> {
    header: Header,
    segments: Vec<Segment>,
    sections: Vec<Section>,
    interpreter: Option<String>,
    dynamic: Option<Dynamic>,
    notes: Vec<notes::RawNote<'a>>,
    debug_link: Option<DebugLink>,
    symbols: Option<Vec<Symbol<'a>>>,
    dynamic_symbols: Option<Vec<Symbol<'a>>>,
    needed_versions: Vec<(String, String)>,
}

fn is_debug_only(sections: &[Section]) -> bool {
    let mut code = sections.iter().filter(|s| s.flags_number & Section::SHF_EXECINSTR != 0).peekable();
    code.peek().is_some() && code.all(|section| !section.has_contents() && section.size_bytes > 0)
}

/// Neither library minds a table or a segment that ends beyond the file, and the kernel minds only at run time.
fn refuse_truncated(
    bytes: &[u8],
    reading: &Reading,
    is_debug_only: bool,
    is_packed: bool,
) -> Result<(), FactsError> {
    let found_bytes = bytes.len() as u64;
    let beyond = |what: String, offset: u64, size: u64| match offset.checked_add(size) {
        Some(end) if end <= found_bytes => Ok(()),
        end => Err(FactsError::Truncated { what, needed_bytes: end.unwrap_or(u64::MAX), found_bytes }),
    };
    for (index, segment) in reading.segments.iter().enumerate() {
        // UPX rounds the file size of its first PT_LOAD up to a page; its own trailer shows whether bytes are missing.
        let is_ours = segment.kind_number == PT_LOAD && !is_debug_only && !is_packed;
        if is_ours && segment.file_size_bytes > 0 {
            beyond(format!("segment {index} (PT_LOAD)"), segment.offset, segment.file_size_bytes)?;
        }
    }
    for (index, section) in reading.sections.iter().enumerate() {
        if section.has_contents() && section.kind_number != 0 {
            beyond(format!("section {index} `{}`", section.name), section.offset, section.size_bytes)?;
        }
    }
    Ok(())
}

fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
