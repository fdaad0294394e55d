//! Symbol names kept compactly: a 20 MB binary has tens of thousands, and one allocation each would cost more than
//! reading them.

use serde::{Serialize, Serializer, ser::SerializeStruct};

/// One entry, borrowed from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'a> {
    pub name: &'a [u8],
    pub value: u64,
    pub size_bytes: u64,
    /// `st_info`: binding and type.
    pub info: u8,
    pub section: u16,
}

impl Symbol<'_> {
    /// STT_SECTION and STT_FILE name parts of the object file, not code or data.
    pub(super) fn names_code_or_data(&self) -> bool {
        !matches!(self.info & 0xf, 3 | 4) && !self.name.is_empty()
    }
}

/// The names of a symbol table, in one buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SymbolTable {
    names: Vec<u8>,
    entries: Vec<Entry>,
    /// Entries in the table, nameless ones included.
    pub entry_count: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    name_end: u32,
    info: u8,
    is_defined: bool,
    size_bytes: u64,
}

/// One named symbol of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedSymbol<'a> {
    pub name: &'a [u8],
    pub is_defined: bool,
    /// STB_WEAK: may stay undefined.
    pub is_weak: bool,
    /// STB_LOCAL: nobody outside of its object can name it.
    pub is_local: bool,
    pub size_bytes: u64,
}

impl SymbolTable {
    pub(super) fn from_raw(symbols: &[Symbol]) -> SymbolTable {
        let mut table = SymbolTable { entry_count: symbols.len(), ..SymbolTable::default() };
        for symbol in symbols.iter().filter(|symbol| symbol.names_code_or_data()) {
            let end = table.names.len() + symbol.name.len();
            // More than 4 GiB of names is no program; the rest is left out and `required` then fails closed.
            let Ok(end) = u32::try_from(end) else { break };
            table.names.extend_from_slice(symbol.name);
            let is_defined = symbol.section != 0;
            table.entries.push(Entry {
                name_end: end,
                info: symbol.info,
                is_defined,
                size_bytes: symbol.size_bytes,
            });
        }
        table
    }

    /// Every name, with `true` when the symbol is defined in this file.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], bool)> {
        self.entries().map(|entry| (entry.name, entry.is_defined))
    }

    pub fn entries(&self) -> impl Iterator<Item = NamedSymbol<'_>> {
        const STB_LOCAL: u8 = 0;
        const STB_WEAK: u8 = 2;
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
                size_bytes: entry.size_bytes,
            }
        })
    }
}

impl Serialize for SymbolTable {
    /// A report wants the size of the table, not sixty thousand names.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = serializer.serialize_struct("SymbolTable", 2)?;
        table.serialize_field("entries", &self.entry_count)?;
        table.serialize_field("named", &self.entries.len())?;
        table.end()
    }
}
