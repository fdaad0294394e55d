//! The size of a file by section, crate and symbol.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{Endianness, SectionIndex};
use serde::{Deserialize, Serialize};

use crate::size::attribution::{Range, disjoint, uncovered};
use crate::size::owner::owner_of;

/// A named part of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizePart {
    /// Section, crate or symbol. In brackets: bytes that belong to none.
    pub name: String,
    /// Bytes of the file.
    pub size_bytes: u64,
}

/// The bytes of a file by section and by crate. Both maps add up to the size of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeBreakdown {
    /// Bytes of each section; sections with the same name are one entry.
    pub sections: BTreeMap<String, u64>,
    /// Bytes of each crate, C++ namespace and C file; what no symbol covers is an entry for each section, in brackets.
    /// Empty without symbols.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub crates: BTreeMap<String, u64>,
    /// Bytes of each symbol, by its name in the symbol table. Only if requested.
    #[serde(skip)]
    pub symbols: Vec<SizePart>,
}

/// Why a file has no breakdown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownSizes(String);

impl fmt::Display for UnknownSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UnknownSizes {}

impl From<object::read::Error> for UnknownSizes {
    fn from(error: object::read::Error) -> UnknownSizes {
        UnknownSizes(error.to_string())
    }
}

/// The bytes between sections.
const PADDING: &str = "[not in a section]";

impl SizeBreakdown {
    /// The parts of the file `bytes`. The symbols are those of `debug_file`, if it is given and has a symbol table, else those
    /// of the file. `with_symbols` also lists the symbols.
    pub fn of(
        bytes: &[u8],
        debug_file: Option<&[u8]>,
        with_symbols: bool,
    ) -> Result<SizeBreakdown, UnknownSizes> {
        match object::FileKind::parse(bytes)? {
            object::FileKind::Elf32 => {
                breakdown::<elf::FileHeader32<Endianness>>(bytes, debug_file, with_symbols)
            }
            object::FileKind::Elf64 => {
                breakdown::<elf::FileHeader64<Endianness>>(bytes, debug_file, with_symbols)
            }
            _ => Err(UnknownSizes("not an ELF file".into())),
        }
    }

    /// Without symbols nothing is known about crates.
    pub fn has_symbols(&self) -> bool {
        !self.crates.is_empty()
    }
}

/// The entry that grew most from `old` to `new`, and by how many bytes. `None` when none grew.
pub fn largest_growth<'a>(
    old: &BTreeMap<String, u64>,
    new: &'a BTreeMap<String, u64>,
) -> Option<(&'a str, u64)> {
    let growth = new.iter().filter_map(|(name, bytes)| {
        let grown = bytes.checked_sub(old.get(name).copied().unwrap_or(0))?;
        (grown > 0).then_some((name.as_str(), grown))
    });
    // The first of equal ones.
    growth.fold(None, |best, next| best.filter(|(_, grown)| *grown >= next.1).or(Some(next)))
}

struct Layout {
    /// Which part of the file each section and header owns.
    ranges: Vec<Range>,
    names: Vec<String>,
    /// By address, for symbols: owner is the index of a mapping.
    addresses: Vec<Range>,
    mappings: Vec<Mapping>,
}

/// Contents of a section that is loaded.
#[derive(Clone, Copy)]
struct Mapping {
    address: u64,
    offset: u64,
}

struct Symbol<'a> {
    name: &'a [u8],
    file: Option<&'a [u8]>,
    start: u64,
    end: u64,
}

fn breakdown<Elf: FileHeader<Endian = Endianness>>(
    bytes: &[u8],
    debug_file: Option<&[u8]>,
    with_symbols: bool,
) -> Result<SizeBreakdown, UnknownSizes> {
    let size = bytes.len() as u64;
    let layout = layout::<Elf>(bytes)?;
    let mut sections: BTreeMap<&str, u64> = BTreeMap::new();
    for range in &layout.ranges {
        *sections.entry(&layout.names[range.owner]).or_default() += range.end - range.start;
    }
    let mut result = SizeBreakdown::default();
    for (name, bytes) in &sections {
        result.sections.insert(name.to_string(), *bytes);
    }
    debug_assert_eq!(result.sections.values().sum::<u64>(), size);

    let mut symbols = match debug_file {
        // A debug file of another class or byte order belongs to another program.
        Some(debug) => symbols::<Elf>(debug, &layout, false)?,
        None => Vec::new(),
    };
    if symbols.is_empty() {
        symbols = self::symbols::<Elf>(bytes, &layout, true)?;
    }
    if symbols.is_empty() {
        return Ok(result);
    }
    let ranges = symbols.iter().enumerate();
    let ranges =
        ranges.map(|(owner, symbol)| Range { start: symbol.start, end: symbol.end, owner }).collect();
    let ranges = disjoint(ranges, size);
    let mut crates: HashMap<Cow<str>, u64> = HashMap::new();
    let mut by_name: HashMap<&[u8], u64> = HashMap::new();
    for range in &ranges {
        let (symbol, bytes) = (&symbols[range.owner], range.end - range.start);
        *crates.entry(owner_of(symbol.name, symbol.file)).or_default() += bytes;
        if with_symbols {
            *by_name.entry(symbol.name).or_default() += bytes;
        }
    }
    uncovered(&layout.ranges, &ranges, |owner, bytes| {
        if bytes > 0 {
            let name = &layout.names[owner];
            let name = if name.starts_with('[') { name.clone() } else { format!("[{name}]") };
            *crates.entry(name.into()).or_default() += bytes;
        }
    });
    result.crates = crates.into_iter().map(|(name, bytes)| (name.into_owned(), bytes)).collect();
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let listed = by_name.into_iter().map(|(name, size_bytes)| SizePart { name: text(name), size_bytes });
    result.symbols = listed.collect();
    result.symbols.sort_unstable_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.name.cmp(&b.name)));
    Ok(result)
}

/// The owners of all bytes: headers, sections, and gaps. A file without section headers is divided by its PT_LOAD.
fn layout<Elf: FileHeader<Endian = Endianness>>(bytes: &[u8]) -> Result<Layout, UnknownSizes> {
    let size = bytes.len() as u64;
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let mut names: Vec<String> = vec![PADDING.into()];
    let mut ranges = Vec::new();
    let mut add = |name: String, offset: u64, bytes: u64| {
        names.push(name);
        ranges.push(Range { start: offset, end: offset.saturating_add(bytes), owner: names.len() - 1 });
    };
    let entries = |size: u16, count: usize| u64::from(size).saturating_mul(count as u64);
    let programs = header.program_headers(endian, bytes)?;
    let sections = header.sections(endian, bytes)?;
    add("[ELF header]".into(), 0, u64::from(header.e_ehsize(endian)));
    let program_bytes = entries(header.e_phentsize(endian), programs.len());
    add("[program headers]".into(), header.e_phoff(endian).into(), program_bytes);
    let section_bytes = entries(header.e_shentsize(endian), sections.len());
    add("[section headers]".into(), header.e_shoff(endian).into(), section_bytes);
    let mut mappings = Vec::new();
    let mut addresses = Vec::new();
    for (_, section) in sections.enumerate() {
        let (Some((offset, bytes)), true) =
            (section.file_range(endian), section.sh_type(endian) != elf::SHT_NULL)
        else {
            continue;
        };
        let name = sections.section_name(endian, section).unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        add(if name.is_empty() { "[unnamed section]".into() } else { name }, offset, bytes);
        let flags = section.sh_flags(endian).0;
        if flags & elf::SHF_ALLOC.0 != 0 && flags & elf::SHF_TLS.0 == 0 {
            let address: u64 = section.sh_addr(endian).into();
            let end = address.saturating_add(bytes);
            addresses.push(Range { start: address, end, owner: mappings.len() });
            mappings.push(Mapping { address, offset });
        }
    }
    if sections.is_empty() {
        for (index, program) in programs.iter().enumerate() {
            if program.p_type(endian) == elf::PT_LOAD {
                let (offset, bytes) = program.file_range(endian);
                add(format!("[segment {index}, PT_LOAD]"), offset, bytes);
            }
        }
    }
    let mut ranges = disjoint(ranges, size);
    let mut gaps = Vec::new();
    let mut cursor = 0;
    for range in &ranges {
        gaps.push(Range { start: cursor, end: range.start, owner: 0 });
        cursor = range.end;
    }
    gaps.push(Range { start: cursor, end: size, owner: 0 });
    ranges.extend(gaps.into_iter().filter(|gap| gap.start < gap.end));
    ranges.sort_unstable_by_key(|range| range.start);
    Ok(Layout { ranges, names, addresses: disjoint(addresses, u64::MAX), mappings })
}

/// The symbols with a size whose bytes are in the file of `layout`.
fn symbols<'a, Elf: FileHeader<Endian = Endianness>>(
    bytes: &'a [u8],
    layout: &Layout,
    is_same_file: bool,
) -> Result<Vec<Symbol<'a>>, UnknownSizes> {
    let header = Elf::parse(bytes)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, bytes)?;
    let table = sections.symbols(endian, bytes, elf::SHT_SYMTAB)?;
    // Names are cut from the bytes of the string table: the search for the end of a name has a bound, because many symbols may
    // refer to one long name.
    let strings = match sections.section(table.string_section()) {
        Ok(section) => section.data(endian, bytes)?,
        Err(_) => return Ok(Vec::new()),
    };
    let name_at = |offset: u32| -> &'a [u8] {
        const NAME_BYTES_MAX: usize = 16 << 10;
        let rest = strings.get(offset as usize..).unwrap_or_default();
        let rest = &rest[..rest.len().min(NAME_BYTES_MAX)];
        &rest[..memchr::memchr(0, rest).unwrap_or(rest.len())]
    };
    let is_object = header.e_type(endian) == elf::ET_REL;
    let mut file = None;
    let mut found = Vec::with_capacity(table.len());
    for symbol in table.iter() {
        let kind = symbol.st_type();
        if kind == elf::STT_FILE {
            file = Some(name_at(symbol.st_name(endian))).filter(|name| !name.is_empty());
            continue;
        }
        let size: u64 = symbol.st_size(endian).into();
        let index = symbol.st_shndx(endian);
        if size == 0 || index == elf::SHN_UNDEF || matches!(kind, elf::STT_SECTION | elf::STT_TLS) {
            continue;
        }
        let value: u64 = symbol.st_value(endian).into();
        let range = match is_object && is_same_file {
            true => {
                let section = sections.section(SectionIndex(usize::from(index.0))).ok();
                let range = section.and_then(|section| section.file_range(endian));
                range.map(|(offset, bytes)| {
                    (offset.saturating_add(value.min(bytes)), offset.saturating_add(bytes))
                })
            }
            false => layout.file_range_at(value),
        };
        let Some((start, limit)) = range else { continue };
        let file = file.filter(|_| symbol.st_bind() == elf::STB_LOCAL);
        let end = start.saturating_add(size).min(limit);
        found.push(Symbol { name: name_at(symbol.st_name(endian)), file, start, end });
    }
    Ok(found)
}

impl Layout {
    /// The offset of an address, and the end of the section that contains it.
    fn file_range_at(&self, address: u64) -> Option<(u64, u64)> {
        let index = self.addresses.partition_point(|range| range.end <= address);
        let range = self.addresses.get(index).filter(|range| range.start <= address)?;
        let mapping = self.mappings[range.owner];
        let to_offset = |at: u64| Some(mapping.offset.saturating_add(at.checked_sub(mapping.address)?));
        Some((to_offset(address)?, to_offset(range.end)?))
    }
}
