//! Archives and objects for tests, generated, so that no binary is committed.

use object::write::{Object, StandardSection, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SymbolFlags, SymbolKind, SymbolScope};

/// An `ar` archive without an index. Names have at most 15 characters.
pub fn archive_of(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = b"!<arch>\n".to_vec();
    for (name, data) in members {
        let header =
            format!("{:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", format!("{name}/"), 0, 0, 0, "644", data.len());
        archive.extend(header.as_bytes());
        archive.extend(*data);
        if data.len() % 2 == 1 {
            archive.push(b'\n');
        }
    }
    archive
}

/// An x86_64 object with functions of the given code in .text. `local:name` is static.
///
/// # Panics
///
/// When the object cannot be written.
pub fn object_with(functions: &[(&str, &[u8])]) -> Vec<u8> {
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
    let text = object.section_id(StandardSection::Text);
    for (name, code) in functions {
        let (name, scope) = match name.strip_prefix("local:") {
            Some(name) => (name, SymbolScope::Compilation),
            None => (*name, SymbolScope::Linkage),
        };
        let offset = object.append_section_data(text, code, 16);
        object.add_symbol(Symbol {
            name: name.as_bytes().to_vec(),
            value: offset,
            size: code.len() as u64,
            kind: SymbolKind::Text,
            scope,
            weak: false,
            section: SymbolSection::Section(text),
            flags: SymbolFlags::None,
        });
    }
    object.write().unwrap()
}
