//! Facts about an ELF file: [`inspect`] turns bytes into [`Facts`].
//!
//! The module contains no rule, and it neither runs nor unpacks a file. Of a packed file it decompresses the first block,
//! which holds the original program headers.

mod address_table;
mod code_arrays;
mod contents;
mod demangle;
mod entry;
mod file_kind;
mod file_map;
mod hardening;
mod inspect;
mod local_paths;
mod merged_strings;
mod relro;
mod unwind_table;

pub use crate::elf::error::FactsError;
pub use crate::elf::names::abi;
pub use crate::elf::notes::{Note, ProcessorFeatures};
pub use crate::elf::symbols::{NamedSymbol, SymbolTable};
pub use crate::elf::types::{
    DebugLink, Dynamic, ElfType, Header, HeaderFields, PT_DYNAMIC, PT_GNU_EH_FRAME, PT_GNU_PROPERTY,
    PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_NOTE, PT_PHDR, PT_TLS, Section, Segment,
    stack_segments,
};
pub use crate::elf::versions::NeededVersion;
pub use address_table::AddressTable;
pub use code_arrays::CodeArray;
pub use contents::AuditableDependencies;
pub use demangle::demangle;
pub use entry::EntryPoint;
pub use file_kind::FileKind;
pub use file_map::{FileMap, Filling, UnclaimedRange};
pub use hardening::{Hardening, Protection};
pub use inspect::{Facts, inspect, inspect_for};
pub use local_paths::{LOCAL_PATH_PREFIXES, LocalPath, LocalPathSearch, LocalPaths};
pub use relro::Relro;
pub use unwind_table::{FunctionRange, UnwindTable};
