//! The first reader: goblin's parsers, called table by table. `Elf::parse` rejects a whole file for one malformed table
//! that no rule uses, and sorts string tables that are read once.

use goblin::container::{Container, Ctx};
use goblin::elf::{
    Dynamic as GoblinDynamic, Elf, Header as GoblinHeader, ProgramHeader, SectionHeader, Symtab,
    note::NoteDataIterator,
    section_header::{SHT_DYNSYM, SHT_GNU_VERNEED, SHT_SYMTAB},
    symver::VerneedSection,
};

use crate::bytes::slice;
use crate::elf::notes::{self, RawNote};
use crate::elf::parsed::{ParsedElf, is_debug_only};
use crate::elf::symbols::Symbol;
use crate::elf::types::{
    DebugLink, Dynamic, Header, HeaderFields, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE, Section, Segment,
};
use crate::elf::{names, versions};

pub(super) fn read(bytes: &[u8]) -> Result<ParsedElf<'_>, String> {
    let (raw, ctx) = header(bytes)?;
    let sections = section_headers(bytes, &raw, ctx)?;
    let phdrs = program_headers(bytes, &raw, ctx, &sections)?;
    let names_at = names_offset(&raw, &sections);
    let named: Vec<Section> = sections.iter().map(|section| name_section(bytes, section, names_at)).collect();
    let is_debug_only = is_debug_only(&named);
    let mut interpreter = None;
    if !is_debug_only {
        interpreter =
            phdrs.iter().find(|p| p.p_type == PT_INTERP).map(|p| read_interpreter(bytes, p)).transpose()?;
    }
    Ok(ParsedElf {
        header: to_header(&raw, ctx, phdrs.len()),
        segments: phdrs.iter().map(to_segment).collect(),
        interpreter,
        dynamic: if is_debug_only { None } else { dynamic(bytes, &phdrs, ctx)? },
        notes: notes(bytes, &phdrs, &sections, ctx, is_debug_only)?,
        debug_link: debug_link(bytes, &named, ctx),
        symbols: symbols(bytes, &sections, SHT_SYMTAB, ctx)?,
        dynamic_symbols: symbols(bytes, &sections, SHT_DYNSYM, ctx)?,
        needed_versions: if is_debug_only { Vec::new() } else { needed_versions(bytes, &sections, ctx)? },
        sections: named,
    })
}

pub(super) fn read_headers(bytes: &[u8]) -> Result<(Header, Vec<Segment>), String> {
    let (raw, ctx) = header(bytes)?;
    // The count of more than 65534 program headers is in the section headers, which are not in these bytes.
    let phdrs = program_headers(bytes, &raw, ctx, &[])?;
    Ok((to_header(&raw, ctx, phdrs.len()), phdrs.iter().map(to_segment).collect()))
}

fn header(bytes: &[u8]) -> Result<(GoblinHeader, Ctx), String> {
    let raw = Elf::parse_header(bytes).map_err(|error| error.to_string())?;
    let container = raw.container().map_err(|error| error.to_string())?;
    let endianness = raw.endianness().map_err(|error| error.to_string())?;
    Ok((raw, Ctx::new(container, endianness)))
}

fn section_headers(bytes: &[u8], raw: &GoblinHeader, ctx: Ctx) -> Result<Vec<SectionHeader>, String> {
    let offset = to_usize(raw.e_shoff)?;
    if offset == 0 {
        return Ok(Vec::new());
    }
    if usize::from(raw.e_shentsize) != SectionHeader::size(ctx) {
        return Err(format!("section header entries of {} bytes", raw.e_shentsize));
    }
    let first = SectionHeader::parse(bytes, offset, 1, ctx).map_err(|error| error.to_string())?;
    let count = match raw.e_shnum {
        0 => to_usize(first.first().map_or(0, |section| section.sh_size))?,
        count => count.into(),
    };
    if count == 0 {
        return Ok(Vec::new());
    }
    SectionHeader::parse(bytes, offset, count, ctx).map_err(|error| error.to_string())
}

fn program_headers(
    bytes: &[u8],
    raw: &GoblinHeader,
    ctx: Ctx,
    sections: &[SectionHeader],
) -> Result<Vec<ProgramHeader>, String> {
    const PN_XNUM: u16 = 0xffff;
    let count = match (raw.e_phnum, sections.first()) {
        (PN_XNUM, Some(section)) => section.sh_info as usize,
        (PN_XNUM, None) => return Err("too many program headers for a file without section headers".into()),
        (count, _) => count.into(),
    };
    if raw.e_phoff == 0 || count == 0 {
        return Ok(Vec::new());
    }
    if usize::from(raw.e_phentsize) != ProgramHeader::size(ctx) {
        return Err(format!("program header entries of {} bytes", raw.e_phentsize));
    }
    ProgramHeader::parse(bytes, to_usize(raw.e_phoff)?, count, ctx).map_err(|error| error.to_string())
}

fn to_header(raw: &GoblinHeader, ctx: Ctx, program_headers: usize) -> Header {
    let table_bytes = (program_headers * ProgramHeader::size(ctx)) as u64;
    Header {
        class_bits: if ctx.container == Container::Big { 64 } else { 32 },
        is_little_endian: ctx.is_little_endian(),
        elf_type: names::elf_type(raw.e_type),
        machine: names::machine(raw.e_machine),
        machine_number: raw.e_machine,
        os_abi: raw.e_ident[7],
        entry: raw.e_entry,
        program_headers_end: raw.e_phoff.saturating_add(table_bytes),
        fields: HeaderFields {
            ident: raw.e_ident,
            type_number: raw.e_type,
            version: raw.e_version,
            program_headers_offset: raw.e_phoff,
            section_headers_offset: raw.e_shoff,
            flags: raw.e_flags,
            header_bytes: raw.e_ehsize,
            program_header_bytes: raw.e_phentsize,
            program_header_count: raw.e_phnum,
            section_header_bytes: raw.e_shentsize,
            section_header_count: raw.e_shnum,
            section_names_index: raw.e_shstrndx,
        },
    }
}

fn to_segment(raw: &ProgramHeader) -> Segment {
    Segment {
        kind: names::segment(raw.p_type),
        kind_number: raw.p_type,
        flags: names::flags(raw.p_flags),
        flags_number: raw.p_flags,
        offset: raw.p_offset,
        address: raw.p_vaddr,
        physical_address: raw.p_paddr,
        file_size_bytes: raw.p_filesz,
        memory_size_bytes: raw.p_memsz,
        align: raw.p_align,
    }
}

fn names_offset(raw: &GoblinHeader, sections: &[SectionHeader]) -> Option<(usize, usize)> {
    const SHN_XINDEX: u16 = 0xffff;
    const SHN_LORESERVE: u16 = 0xff00;
    let index = match raw.e_shstrndx {
        0 => return None,
        SHN_XINDEX => sections.first()?.sh_link as usize,
        index if index >= SHN_LORESERVE => return None,
        index => index.into(),
    };
    sections.get(index).and_then(range)
}

fn name_section(bytes: &[u8], raw: &SectionHeader, names_at: Option<(usize, usize)>) -> Section {
    let name = names_at.and_then(|table| string(bytes, table, raw.sh_name)).unwrap_or_default();
    Section {
        name: lossy(name),
        kind_number: raw.sh_type,
        flags_number: raw.sh_flags,
        address: raw.sh_addr,
        offset: raw.sh_offset,
        size_bytes: raw.sh_size,
        link: raw.sh_link,
        align: raw.sh_addralign,
    }
}

fn read_interpreter(bytes: &[u8], raw: &ProgramHeader) -> Result<String, String> {
    let data =
        slice(bytes, raw.p_offset, raw.p_filesz).ok_or("the interpreter path lies outside of the file")?;
    let end = data.iter().position(|&byte| byte == 0).ok_or("the interpreter path has no terminator")?;
    Ok(lossy(&data[..end]))
}

/// Reads every PT_DYNAMIC segment: a second one could hide a needed library.
fn dynamic(bytes: &[u8], phdrs: &[ProgramHeader], ctx: Ctx) -> Result<Option<Dynamic>, String> {
    let mut facts: Option<Dynamic> = None;
    for phdr in phdrs.iter().filter(|phdr| phdr.p_type == PT_DYNAMIC) {
        let facts = facts.get_or_insert_with(Dynamic::empty);
        let parsed = GoblinDynamic::parse(bytes, std::slice::from_ref(phdr), ctx)
            .map_err(|error| error.to_string())?;
        let entries: Vec<(u64, u64)> = parsed.map_or(Vec::new(), |parsed| {
            parsed.dyns.iter().map(|entry| (entry.d_tag, entry.d_val)).collect()
        });
        let address = entries.iter().find(|entry| entry.0 == Dynamic::DT_STRTAB).map(|entry| entry.1);
        let offset = address.and_then(|address| file_offset(phdrs, address));
        facts.add(&entries, |index| {
            let at = usize::try_from(offset?.checked_add(index)?).ok()?;
            let data = bytes.get(at..)?;
            Some(&data[..data.iter().position(|&byte| byte == 0)?])
        })?;
    }
    Ok(facts)
}

fn file_offset(phdrs: &[ProgramHeader], address: u64) -> Option<u64> {
    phdrs.iter().filter(|phdr| phdr.p_type == PT_LOAD).find_map(|phdr| {
        let into = address.checked_sub(phdr.p_vaddr)?;
        if into < phdr.p_filesz { phdr.p_offset.checked_add(into) } else { None }
    })
}

fn notes<'a>(
    bytes: &'a [u8],
    phdrs: &[ProgramHeader],
    sections: &[SectionHeader],
    ctx: Ctx,
    is_debug_only: bool,
) -> Result<Vec<RawNote<'a>>, String> {
    const SHT_NOTE: u32 = 7;
    let segments = phdrs.iter().filter(|phdr| phdr.p_type == PT_NOTE && !is_debug_only);
    let segments = segments.map(|phdr| (phdr.p_offset, phdr.p_filesz, phdr.p_align));
    let sections = sections.iter().filter(|section| section.sh_type == SHT_NOTE);
    let sections = sections.map(|section| (section.sh_offset, section.sh_size, section.sh_addralign));
    let ranges = notes::bounded(segments.chain(sections).collect(), bytes.len())?;
    let mut found = Vec::new();
    for (offset, size, align) in ranges {
        let (Some(data), Ok(align)) = (slice(bytes, offset, size), usize::try_from(align)) else { continue };
        notes_in(data, align, ctx, &mut found);
    }
    Ok(notes::deduplicated(found.into_iter()))
}

fn notes_in<'a>(data: &'a [u8], align: usize, ctx: Ctx, found: &mut Vec<RawNote<'a>>) {
    let mut iterator = NoteDataIterator { data, size: data.len(), offset: 0, ctx: (align, ctx) };
    loop {
        let at = iterator.offset;
        match iterator.next() {
            Some(Ok(note)) => found.push(RawNote {
                owner: notes::trim(note.name.as_bytes()),
                kind: note.n_type,
                description: note.desc,
            }),
            // goblin requires owners to be UTF-8. Those of annobin are not, and notes follow them.
            Some(Err(_)) => {
                let Some((note, end)) = binary_owner(data, at, align, ctx) else { return };
                found.push(note);
                iterator.offset = at + end;
            }
            None => return,
        }
    }
}

fn binary_owner(data: &[u8], at: usize, align: usize, ctx: Ctx) -> Option<(RawNote<'_>, usize)> {
    let align = match align {
        0..=4 => 4,
        8 => 8,
        _ => return None,
    };
    let data = data.get(at..)?;
    let word = |at: usize| {
        let raw: [u8; 4] = data.get(at..at + 4)?.try_into().ok()?;
        Some(if ctx.is_little_endian() { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) })
    };
    let (owner_bytes, description_bytes, kind) = (word(0)? as usize, word(4)? as usize, word(8)?);
    let owner = data.get(12..12_usize.checked_add(owner_bytes)?)?;
    if std::str::from_utf8(owner).is_ok() {
        return None;
    }
    let start = (12 + owner_bytes).next_multiple_of(align);
    let end = start.checked_add(description_bytes)?;
    let note = RawNote { owner: notes::trim(owner), kind, description: data.get(start..end)? };
    Some((note, end.next_multiple_of(align)))
}

/// Libraries and versions of `.gnu.version_r`.
fn needed_versions(
    bytes: &[u8],
    sections: &[SectionHeader],
    ctx: Ctx,
) -> Result<Vec<(String, String)>, String> {
    let Some(header) = sections.iter().find(|section| section.sh_type == SHT_GNU_VERNEED) else {
        return Ok(Vec::new());
    };
    let names =
        sections.get(header.sh_link as usize).and_then(range).ok_or("the version table has no names")?;
    let table = VerneedSection::parse(bytes, sections, ctx).map_err(|error| error.to_string())?;
    let name = |index: usize| match string(bytes, names, index) {
        Some(name) => Ok(lossy(name)),
        None => Err("a version name lies outside of the file".to_string()),
    };
    let mut found = Vec::new();
    for library in table.iter().flatten() {
        for version in &library {
            versions::push(&mut found, header.sh_size, name(library.vn_file)?, name(version.vna_name)?)?;
        }
    }
    Ok(found)
}

fn debug_link(bytes: &[u8], sections: &[Section], ctx: Ctx) -> Option<DebugLink> {
    let section =
        sections.iter().find(|section| section.name == ".gnu_debuglink" && section.has_contents())?;
    let data = slice(bytes, section.offset, section.size_bytes)?;
    let end = data.iter().position(|&byte| byte == 0)?;
    let at = (end + 1).next_multiple_of(4);
    let raw: [u8; 4] = data.get(at..at + 4)?.try_into().ok()?;
    let crc32 = if ctx.is_little_endian() { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) };
    Some(DebugLink { file_name: lossy(&data[..end]), crc32 })
}

fn symbols<'a>(
    bytes: &'a [u8],
    sections: &[SectionHeader],
    kind: u32,
    ctx: Ctx,
) -> Result<Option<Vec<Symbol<'a>>>, String> {
    let Some(table) = sections.iter().find(|section| section.sh_type == kind) else { return Ok(None) };
    let entry_bytes = if ctx.container == Container::Big { 24 } else { 16 };
    let count = to_usize(table.sh_size)? / entry_bytes;
    if count == 0 {
        return Ok(Some(Vec::new()));
    }
    let names =
        sections.get(table.sh_link as usize).and_then(range).ok_or("the symbol table has no names")?;
    let parsed =
        Symtab::parse(bytes, to_usize(table.sh_offset)?, count, ctx).map_err(|error| error.to_string())?;
    let symbols = parsed.iter().map(|raw| {
        let name = string(bytes, names, raw.st_name).ok_or("a symbol name lies outside of the file")?;
        let section = raw.st_shndx as u16;
        Ok(Symbol { name, value: raw.st_value, size_bytes: raw.st_size, info: raw.st_info, section })
    });
    symbols.collect::<Result<_, String>>().map(Some)
}

fn range(section: &SectionHeader) -> Option<(usize, usize)> {
    let range = section.file_range()?;
    Some((range.start, range.end))
}

/// The bytes before the NUL, which must lie inside of the table.
fn string(bytes: &[u8], (start, end): (usize, usize), index: usize) -> Option<&[u8]> {
    let data = bytes.get(start.checked_add(index)?..end)?;
    Some(&data[..memchr::memchr(0, data)?])
}

fn to_usize(value: u64) -> Result<usize, String> {
    usize::try_from(value).map_err(|_| format!("{value:#x} exceeds the address size of this machine"))
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
