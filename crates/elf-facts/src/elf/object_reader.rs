//! The second reader: object's typed views over the same bytes. It shares no parsing code with the first reader, so that a
//! mistake in one is not repeated in the other.

use object::elf::{self, FileHeader32, FileHeader64};
use object::read::StringTable;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader, Sym};
use object::{BigEndian, Endian, LittleEndian};

use crate::elf::notes::{self, RawNote};
use crate::elf::parsed::{ParsedElf, is_debug_only};
use crate::elf::symbols::Symbol;
use crate::elf::types::{DebugLink, Dynamic, Header, HeaderFields, Section, Segment};
use crate::elf::{names, versions};

/// Calls the generic reader with the type for the class and byte order of the file.
macro_rules! with_class_of {
    ($bytes:expr, $reader:ident) => {
        match ($bytes.get(4), $bytes.get(5)) {
            (Some(1), Some(1)) => $reader::<FileHeader32<LittleEndian>>($bytes),
            (Some(1), Some(2)) => $reader::<FileHeader32<BigEndian>>($bytes),
            (Some(2), Some(1)) => $reader::<FileHeader64<LittleEndian>>($bytes),
            (Some(2), Some(2)) => $reader::<FileHeader64<BigEndian>>($bytes),
            _ => Err("unknown class or byte order".into()),
        }
    };
}

pub(super) fn read(bytes: &[u8]) -> Result<ParsedElf<'_>, String> {
    with_class_of!(bytes, read_as)
}

pub(super) fn read_headers(bytes: &[u8]) -> Result<(Header, Vec<Segment>), String> {
    with_class_of!(bytes, read_headers_as)
}

fn read_as<Elf: FileHeader<Endian: Endian>>(bytes: &[u8]) -> Result<ParsedElf<'_>, String> {
    let raw = Elf::parse(bytes).map_err(text)?;
    let endian = raw.endian().map_err(text)?;
    let phdrs = raw.program_headers(endian, bytes).map_err(text)?;
    let sections = raw.section_headers(endian, bytes).map_err(text)?;
    // A file without section names is legal; its sections have empty names.
    let strings = raw.section_strings(endian, bytes, sections).unwrap_or_default();
    let named: Vec<Section> =
        sections.iter().map(|section| to_section::<Elf>(section, endian, strings)).collect();
    let is_debug_only = is_debug_only(&named);
    let mut interpreter = None;
    let mut dynamic: Option<Dynamic> = None;
    if !is_debug_only {
        for phdr in phdrs {
            if let (None, Some(name)) = (&interpreter, phdr.interpreter(endian, bytes).map_err(text)?) {
                interpreter = Some(String::from_utf8_lossy(name).into_owned());
            }
            if let Some(entries) = phdr.dynamic(endian, bytes).map_err(text)? {
                let dynamic = dynamic.get_or_insert_with(Dynamic::empty);
                add_dynamic::<Elf>(dynamic, entries, bytes, phdrs, endian)?;
            }
        }
    }
    Ok(ParsedElf {
        header: to_header(raw, endian, phdrs),
        segments: phdrs.iter().map(|phdr| to_segment::<Elf>(phdr, endian)).collect(),
        interpreter,
        dynamic,
        notes: notes::<Elf>(bytes, phdrs, sections, endian, is_debug_only)?,
        debug_link: debug_link::<Elf>(bytes, &named, sections, endian),
        symbols: symbols::<Elf>(bytes, sections, elf::SHT_SYMTAB, endian)?,
        dynamic_symbols: symbols::<Elf>(bytes, sections, elf::SHT_DYNSYM, endian)?,
        needed_versions: match is_debug_only {
            true => Vec::new(),
            false => needed_versions::<Elf>(bytes, sections, endian)?,
        },
        sections: named,
    })
}

fn read_headers_as<Elf: FileHeader<Endian: Endian>>(bytes: &[u8]) -> Result<(Header, Vec<Segment>), String> {
    let raw = Elf::parse(bytes).map_err(text)?;
    let endian = raw.endian().map_err(text)?;
    let phdrs = raw.program_headers(endian, bytes).map_err(text)?;
    Ok((to_header(raw, endian, phdrs), phdrs.iter().map(|phdr| to_segment::<Elf>(phdr, endian)).collect()))
}

fn to_header<Elf: FileHeader>(raw: &Elf, endian: Elf::Endian, phdrs: &[Elf::ProgramHeader]) -> Header {
    let machine_number = raw.e_machine(endian).0;
    let phoff: u64 = raw.e_phoff(endian).into();
    Header {
        class_bits: if raw.is_type_64() { 64 } else { 32 },
        is_little_endian: raw.is_little_endian(),
        elf_type: names::elf_type(raw.e_type(endian).0),
        machine: names::machine(machine_number),
        machine_number,
        os_abi: raw.e_ident().os_abi.0,
        entry: raw.e_entry(endian).into(),
        program_headers_end: phoff.saturating_add(size_of_val(phdrs) as u64),
        fields: HeaderFields {
            ident: ident(raw),
            type_number: raw.e_type(endian).0,
            version: raw.e_version(endian),
            program_headers_offset: phoff,
            section_headers_offset: raw.e_shoff(endian).into(),
            flags: raw.e_flags(endian).0,
            header_bytes: raw.e_ehsize(endian),
            program_header_bytes: raw.e_phentsize(endian),
            program_header_count: raw.e_phnum(endian),
            section_header_bytes: raw.e_shentsize(endian),
            section_header_count: raw.e_shnum(endian),
            section_names_index: raw.e_shstrndx(endian).0,
        },
    }
}

fn ident<Elf: FileHeader>(raw: &Elf) -> [u8; 16] {
    let ident = raw.e_ident();
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&ident.magic);
    bytes[4..9].copy_from_slice(&[
        ident.class.0,
        ident.data.0,
        ident.version.0,
        ident.os_abi.0,
        ident.abi_version,
    ]);
    bytes[9..].copy_from_slice(&ident.padding);
    bytes
}

fn to_segment<Elf: FileHeader>(raw: &Elf::ProgramHeader, endian: Elf::Endian) -> Segment {
    let kind_number = raw.p_type(endian).0;
    let flags_number = raw.p_flags(endian).0;
    Segment {
        kind: names::segment(kind_number),
        kind_number,
        flags: names::flags(flags_number),
        flags_number,
        offset: raw.p_offset(endian).into(),
        address: raw.p_vaddr(endian).into(),
        physical_address: raw.p_paddr(endian).into(),
        file_size_bytes: raw.p_filesz(endian).into(),
        memory_size_bytes: raw.p_memsz(endian).into(),
        align: raw.p_align(endian).into(),
    }
}

fn to_section<Elf: FileHeader>(
    raw: &Elf::SectionHeader,
    endian: Elf::Endian,
    strings: StringTable,
) -> Section {
    let name = raw.name(endian, strings).unwrap_or_default();
    Section {
        name: String::from_utf8_lossy(name).into_owned(),
        kind_number: raw.sh_type(endian).0,
        flags_number: raw.sh_flags(endian).0,
        address: raw.sh_addr(endian).into(),
        offset: raw.sh_offset(endian).into(),
        size_bytes: raw.sh_size(endian).into(),
        link: raw.sh_link(endian),
        align: raw.sh_addralign(endian).into(),
    }
}

fn add_dynamic<Elf: FileHeader>(
    facts: &mut Dynamic,
    entries: &[Elf::Dyn],
    bytes: &[u8],
    phdrs: &[Elf::ProgramHeader],
    endian: Elf::Endian,
) -> Result<(), String> {
    let used = entries.iter().map(|entry| (entry.tag(endian).0 as u64, entry.val(endian)));
    let used: Vec<(u64, u64)> = used.take_while(|entry| entry.0 != 0).collect();
    let address = used.iter().find(|entry| entry.0 == Dynamic::DT_STRTAB).map(|entry| entry.1);
    let strings = address.and_then(|address| {
        phdrs.iter().filter(|phdr| phdr.p_type(endian) == elf::PT_LOAD).find_map(|phdr| {
            let into = address.checked_sub(phdr.p_vaddr(endian).into())?;
            let (offset, size) = phdr.file_range(endian);
            if into < size {
                Some(StringTable::new(bytes, offset.checked_add(into)?, bytes.len() as u64))
            } else {
                None
            }
        })
    });
    facts.add(&used, |index| strings?.get(u32::try_from(index).ok()?).ok())
}

fn notes<'a, Elf: FileHeader>(
    bytes: &'a [u8],
    phdrs: &'a [Elf::ProgramHeader],
    sections: &'a [Elf::SectionHeader],
    endian: Elf::Endian,
    is_debug_only: bool,
) -> Result<Vec<RawNote<'a>>, String> {
    let segments = phdrs.iter().filter(|phdr| phdr.p_type(endian) == elf::PT_NOTE && !is_debug_only);
    let sections = sections.iter().filter(|section| section.sh_type(endian) == elf::SHT_NOTE);
    let sizes = segments.clone().map(|phdr| phdr.p_filesz(endian).into());
    let sizes = sizes.chain(sections.clone().map(|section| section.sh_size(endian).into()));
    notes::bounded(sizes.map(|size| (0, size, 0)).collect(), bytes.len())?;
    let in_segments = segments.filter_map(|phdr| phdr.notes(endian, bytes).ok().flatten());
    let in_sections = sections.filter_map(|section| section.notes(endian, bytes).ok().flatten());
    let found = in_segments.chain(in_sections).flat_map(|notes| notes.map_while(Result::ok));
    let found = found.map(|note| RawNote {
        owner: notes::trim(note.name()),
        kind: note.n_type(endian).0,
        description: note.desc(),
    });
    Ok(notes::deduplicated(found))
}

fn needed_versions<Elf: FileHeader>(
    bytes: &[u8],
    sections: &[Elf::SectionHeader],
    endian: Elf::Endian,
) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    for section in sections {
        let Some((mut libraries, link)) = section.gnu_verneed(endian, bytes).map_err(text)? else { continue };
        let names = sections.get(link.0).and_then(|section| section.file_range(endian));
        let (start, size) = names.ok_or("the version table has no names")?;
        let strings = StringTable::new(
            bytes,
            start,
            start.checked_add(size).ok_or("the range of the names overflows")?,
        );
        let table_bytes = section.sh_size(endian).into();
        // Each library and each version has one entry; more than fit into the table means that some are visited twice.
        let mut visited: u64 = 0;
        while let Some((library, mut versions)) = libraries.next().map_err(text)? {
            visited += 1;
            let file = library.file(endian, strings).map_err(text)?;
            while let Some(version) = versions.next().map_err(text)? {
                let name = version.name(endian, strings).map_err(text)?;
                let lossy = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
                versions::push(&mut found, table_bytes, lossy(file), lossy(name))?;
            }
            if visited > table_bytes / 16 {
                return Err("the links of the version table form a cycle".into());
            }
        }
        break;
    }
    Ok(found)
}

fn debug_link<Elf: FileHeader>(
    bytes: &[u8],
    named: &[Section],
    sections: &[Elf::SectionHeader],
    endian: Elf::Endian,
) -> Option<DebugLink> {
    let index =
        named.iter().position(|section| section.name == ".gnu_debuglink" && section.has_contents())?;
    let data = sections.get(index)?.data(endian, bytes).ok()?;
    let file_name = data.split(|&byte| byte == 0).next().filter(|name| name.len() < data.len())?;
    let padded = (file_name.len() / 4 + 1) * 4;
    let crc32 = endian.read_u32(data.get(padded..)?.first_chunk().copied()?);
    Some(DebugLink { file_name: String::from_utf8_lossy(file_name).into_owned(), crc32 })
}

fn symbols<'a, Elf: FileHeader>(
    bytes: &'a [u8],
    sections: &'a [Elf::SectionHeader],
    kind: elf::SectionType,
    endian: Elf::Endian,
) -> Result<Option<Vec<Symbol<'a>>>, String> {
    let Some(table) = sections.iter().find(|section| section.sh_type(endian) == kind) else {
        return Ok(None);
    };
    let entries: &[Elf::Sym] = table.data_as_array(endian, bytes).map_err(text)?;
    if entries.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let names = sections.get(table.sh_link(endian) as usize).and_then(|section| section.file_range(endian));
    let (start, size) = names.ok_or("the symbol table has no names")?;
    let strings =
        StringTable::new(bytes, start, start.checked_add(size).ok_or("the range of the names overflows")?);
    let symbols = entries.iter().map(|entry| {
        Ok(Symbol {
            name: strings
                .get(entry.st_name(endian))
                .map_err(|()| "a symbol name lies outside of the file")?,
            value: entry.st_value(endian).into(),
            size_bytes: entry.st_size(endian).into(),
            info: entry.st_info().0,
            section: entry.st_shndx(endian).0,
        })
    });
    symbols.collect::<Result<_, String>>().map(Some)
}

fn text(error: object::read::Error) -> String {
    error.to_string()
}
