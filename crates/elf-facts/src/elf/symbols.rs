//! Symbol tables with all names in one buffer: a 20 MB binary has tens of thousands of symbols, and one allocation per
//! name costs more than reading them.

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// One entry, borrowed from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Symbol<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: u64,
    pub(crate) size_bytes: u64,
    /// `st_info`: binding and type.
    pub(crate) info: u8,
    pub(crate) section: u16,
}

impl Symbol<'_> {
    /// `STT_SECTION` and `STT_FILE` name parts of the object file, not code or data.
    fn names_code_or_data(&self) -> bool {
        !matches!(self.info & 0xf, 3 | 4) && !self.name.is_empty()
    }

    fn names_source_file(&self) -> bool {
        const STT_FILE: u8 = 4;
        self.info & 0xf == STT_FILE && !self.name.is_empty()
    }
}

/// The names of a symbol table, in one buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SymbolTable {
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// Names of source files, each with a NUL behind it.
    source_files: Vec<u8>,
    /// Number of entries, including those without a name.
    pub entry_count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    name_end: u32,
    info: u8,
    is_defined: bool,
    value: u64,
    size_bytes: u64,
}

/// One named symbol of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedSymbol<'a> {
    /// As in the file, mangled.
    pub name: &'a [u8],
    /// Defined in this file.
    pub is_defined: bool,
    /// `STB_WEAK`: may stay undefined.
    pub is_weak: bool,
    /// `STB_LOCAL`: not visible outside of its object.
    pub is_local: bool,
    /// `STT_GNU_IFUNC`: the address is chosen by a resolver at the start of the program.
    pub is_ifunc: bool,
    /// `st_value`: the address, in a linked file.
    pub value: u64,
    /// `st_size`.
    pub size_bytes: u64,
}

impl SymbolTable {
    pub(crate) fn from_symbols(symbols: &[Symbol]) -> SymbolTable {
        let mut table = SymbolTable { entry_count: symbols.len(), ..SymbolTable::default() };
        for symbol in symbols.iter().filter(|symbol| symbol.names_code_or_data()) {
            let end = table.names.len() + symbol.name.len();
            // No program has 4 GiB of names. The remainder is dropped, and `required-symbols` then fails closed.
            let Ok(end) = u32::try_from(end) else { break };
            table.names.extend_from_slice(symbol.name);
            let is_defined = symbol.section != 0;
            table.entries.push(Entry {
                name_end: end,
                info: symbol.info,
                is_defined,
                value: symbol.value,
                size_bytes: symbol.size_bytes,
            });
        }
        for file in symbols.iter().filter(|symbol| symbol.names_source_file()) {
            table.source_files.extend_from_slice(file.name);
            table.source_files.push(0);
        }
        table
    }

    /// Names of `STT_FILE`, with repetitions: one for each object that the linker added and that has local symbols. Linkers
    /// keep them even where they drop the second definition of a symbol.
    pub fn source_files(&self) -> impl Iterator<Item = &[u8]> {
        self.source_files.split(|&byte| byte == 0).filter(|name| !name.is_empty())
    }

    /// Every name, and whether the symbol is defined in this file.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], bool)> {
        self.entries().map(|entry| (entry.name, entry.is_defined))
    }

    /// Whether a name contains the text. Names are searched as one text, so it may also span two of them.
    pub fn contains_text(&self, text: &[u8]) -> bool {
        memchr::memmem::find(&self.names, text).is_some()
    }

    /// Symbols that this file refers to and does not define.
    pub fn undefined(&self) -> Vec<NamedSymbol<'_>> {
        self.entries().filter(|symbol| !symbol.is_defined).collect()
    }

    /// Symbols of the type `STT_GNU_IFUNC`.
    pub fn ifuncs(&self) -> Vec<NamedSymbol<'_>> {
        self.entries().filter(|symbol| symbol.is_ifunc).collect()
    }

    /// Every symbol with a name.
    pub fn entries(&self) -> impl Iterator<Item = NamedSymbol<'_>> {
        const STB_LOCAL: u8 = 0;
        const STB_WEAK: u8 = 2;
        const STT_GNU_IFUNC: u8 = 10;
        let mut start = 0;
        self.entries.iter().map(move |entry| {
            let name = &self.names[start..entry.name_end as usize];
            start = entry.name_end as usize;
            let binding = entry.info >> 4;
            NamedSymbol {
                name,
                is_defined: entry.is_defined,
                is_weak: binding == STB_WEAK,
                is_local: binding == STB_LOCAL,
                is_ifunc: entry.info & 0xf == STT_GNU_IFUNC,
                value: entry.value,
                size_bytes: entry.size_bytes,
            }
        })
    }
}

impl Serialize for SymbolTable {
    /// Only the counts: a list of sixty thousand names is of no use in a report.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = serializer.serialize_struct("SymbolTable", 2)?;
        table.serialize_field("entries", &self.entry_count)?;
        table.serialize_field("named", &self.entries.len())?;
        table.end()
    }
}
