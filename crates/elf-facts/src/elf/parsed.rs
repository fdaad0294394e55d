//! The result of one reader.

use crate::elf::notes::RawNote;
use crate::elf::symbols::Symbol;
use crate::elf::types::{DebugLink, Dynamic, Header, Section, Segment};

/// What one library reads from the bytes. Both readers return this type, so that the comparison is a plain `==`.
#[derive(Debug, PartialEq)]
pub(crate) struct ParsedElf<'a> {
    pub(crate) header: Header,
    pub(crate) segments: Vec<Segment>,
    pub(crate) sections: Vec<Section>,
    pub(crate) interpreter: Option<String>,
    pub(crate) dynamic: Option<Dynamic>,
    pub(crate) notes: Vec<RawNote<'a>>,
    pub(crate) debug_link: Option<DebugLink>,
    pub(crate) symbols: Option<Vec<Symbol<'a>>>,
    pub(crate) dynamic_symbols: Option<Vec<Symbol<'a>>>,
    pub(crate) needed_versions: Vec<(String, String)>,
    /// Loaded relocations of the type `R_*_IRELATIVE`.
    pub(crate) irelative_relocations: u64,
}

/// Whether all executable sections have a size and no contents, as in the output of `objcopy --only-keep-debug`.
pub(crate) fn is_debug_only(sections: &[Section]) -> bool {
    let mut code = sections.iter().filter(|section| section.is_executable()).peekable();
    code.peek().is_some() && code.all(|section| !section.has_contents() && section.size_bytes > 0)
}
