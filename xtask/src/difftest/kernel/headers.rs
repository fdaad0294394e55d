//! The fields of the ELF header and of the program headers by their place in the file.
//!
//! Shares no code with the readers of the gate: a field that both located wrongly would look like a correct gate.

use std::fmt;

use diag::Diagnostic;

use super::codes::UNSUPPORTED_PROGRAM;

const ELF_HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 56;

/// Fields of a 64-bit ELF header: name, offset, size.
const ELF_HEADER: [(&str, usize, usize); 20] = [
    ("EI_MAG", 0, 4),
    ("EI_CLASS", 4, 1),
    ("EI_DATA", 5, 1),
    ("EI_VERSION", 6, 1),
    ("EI_OSABI", 7, 1),
    ("EI_ABIVERSION", 8, 1),
    ("EI_PAD", 9, 7),
    ("e_type", 16, 2),
    ("e_machine", 18, 2),
    ("e_version", 20, 4),
    ("e_entry", 24, 8),
    ("e_phoff", 32, 8),
    ("e_shoff", 40, 8),
    ("e_flags", 48, 4),
    ("e_ehsize", 52, 2),
    ("e_phentsize", 54, 2),
    ("e_phnum", 56, 2),
    ("e_shentsize", 58, 2),
    ("e_shnum", 60, 2),
    ("e_shstrndx", 62, 2),
];

/// Fields of a 64-bit program header.
const PROGRAM_HEADER: [(&str, usize, usize); 8] = [
    ("p_type", 0, 4),
    ("p_flags", 4, 4),
    ("p_offset", 8, 8),
    ("p_vaddr", 16, 8),
    ("p_paddr", 24, 8),
    ("p_filesz", 32, 8),
    ("p_memsz", 40, 8),
    ("p_align", 48, 8),
];

/// A field of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// `p_vaddr`
    pub name: &'static str,
    /// Number and type of the program header; `None` in the ELF header.
    pub segment: Option<(usize, &'static str)>,
    pub offset: usize,
    pub size: usize,
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.segment {
            Some((index, kind)) => write!(f, "{index} {kind} {}", self.name),
            None => f.write_str(self.name),
        }
    }
}

/// The tables that are edited.
pub struct Headers {
    pub fields: Vec<Field>,
    /// Offset of each program header.
    pub segments: Vec<usize>,
}

impl Headers {
    /// Finds them. The programs that this machine can run without another loader have 64-bit little-endian headers.
    pub fn find(bytes: &[u8]) -> Result<Self, Diagnostic> {
        let unsupported = |found: String| {
            Diagnostic::new(&UNSUPPORTED_PROGRAM, "the headers of the program cannot be edited")
                .expected("a 64-bit little-endian ELF file with a program header table in the file")
                .found(found)
        };
        if bytes.get(..6) != Some(b"\x7fELF\x02\x01") || bytes.len() < ELF_HEADER_BYTES {
            return Err(unsupported("another format".into()));
        }
        let count = usize::from(u16::from_le_bytes([bytes[56], bytes[57]]));
        let table = value(bytes, 32, 8);
        let end = table.checked_add((count * ENTRY_BYTES) as u64);
        if end.is_none_or(|end| end > bytes.len() as u64) || count == 0 || bytes[54..56] != [56, 0] {
            return Err(unsupported(format!("{count} program headers at offset {table}")));
        }
        let table = usize::try_from(table).map_err(|error| unsupported(error.to_string()))?;
        let header =
            ELF_HEADER.iter().map(|&(name, offset, size)| Field { name, segment: None, offset, size });
        let segments: Vec<usize> = (0..count).map(|index| table + ENTRY_BYTES * index).collect();
        let entries = segments.iter().enumerate().flat_map(|(index, &at)| {
            let segment = Some((index, type_name(value(bytes, at, 4))));
            PROGRAM_HEADER.iter().map(move |&(name, offset, size)| Field {
                name,
                segment,
                offset: at + offset,
                size,
            })
        });
        Ok(Self { fields: header.chain(entries).collect(), segments })
    }

    /// The field that holds this byte.
    pub fn field_at(&self, offset: u64) -> Option<&Field> {
        let offset = usize::try_from(offset).ok()?;
        self.fields.iter().find(|field| (field.offset..field.offset + field.size).contains(&offset))
    }

    /// Size of a program header.
    pub const fn entry_bytes() -> usize {
        ENTRY_BYTES
    }
}

/// The value of at most 8 little-endian bytes.
pub fn value(bytes: &[u8], offset: usize, size: usize) -> u64 {
    let bytes = bytes.get(offset..offset + size.min(8)).unwrap_or_default();
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn type_name(kind: u64) -> &'static str {
    match kind {
        0 => "PT_NULL",
        1 => "PT_LOAD",
        2 => "PT_DYNAMIC",
        3 => "PT_INTERP",
        4 => "PT_NOTE",
        6 => "PT_PHDR",
        7 => "PT_TLS",
        0x6474_e550 => "PT_GNU_EH_FRAME",
        0x6474_e551 => "PT_GNU_STACK",
        0x6474_e552 => "PT_GNU_RELRO",
        0x6474_e553 => "PT_GNU_PROPERTY",
        _ => "PT_other",
    }
}
