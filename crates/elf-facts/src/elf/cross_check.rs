//! Reads a file with both libraries and requires equal results.

use std::fmt::Debug;

use crate::elf::error::{FactsError, require_elf_magic};
use crate::elf::parsed::ParsedElf;
use crate::elf::symbols::Symbol;
use crate::elf::types::{Header, Segment};
use crate::elf::{goblin_reader, object_reader};

/// The whole file.
pub(crate) fn read_twice(bytes: &[u8]) -> Result<ParsedElf<'_>, FactsError> {
    require_elf_magic(bytes)?;
    let (goblin, object) = both(goblin_reader::read(bytes), object_reader::read(bytes))?;
    same("ELF header", &goblin.header, &object.header)?;
    same("program headers", &goblin.segments, &object.segments)?;
    same("section headers", &goblin.sections, &object.sections)?;
    same("interpreter", &goblin.interpreter, &object.interpreter)?;
    same("dynamic section", &goblin.dynamic, &object.dynamic)?;
    same("notes", &goblin.notes, &object.notes)?;
    same("debug link", &goblin.debug_link, &object.debug_link)?;
    same_symbols("symbol table", goblin.symbols.as_deref(), object.symbols.as_deref())?;
    same_symbols(
        "dynamic symbol table",
        goblin.dynamic_symbols.as_deref(),
        object.dynamic_symbols.as_deref(),
    )?;
    same("IRELATIVE relocations", &goblin.irelative_relocations, &object.irelative_relocations)?;
    same("needed symbol versions", &goblin.needed_versions, &object.needed_versions)?;
    Ok(object)
}

/// Only the ELF header and the program headers: the first block of a packed file holds no more of the original.
pub(crate) fn read_headers_twice(bytes: &[u8]) -> Result<(Header, Vec<Segment>), FactsError> {
    require_elf_magic(bytes)?;
    let (goblin, object) = both(goblin_reader::read_headers(bytes), object_reader::read_headers(bytes))?;
    same("ELF header", &goblin.0, &object.0)?;
    same("program headers", &goblin.1, &object.1)?;
    Ok(object)
}

fn both<T>(goblin: Result<T, String>, object: Result<T, String>) -> Result<(T, T), FactsError> {
    match (goblin, object) {
        (Ok(goblin), Ok(object)) => Ok((goblin, object)),
        (goblin, object) => Err(FactsError::Malformed {
            goblin: goblin.err().unwrap_or_else(|| "readable".into()),
            object: object.err().unwrap_or_else(|| "readable".into()),
        }),
    }
}

fn same<T: PartialEq + Debug>(what: &'static str, goblin: &T, object: &T) -> Result<(), FactsError> {
    if goblin == object {
        return Ok(());
    }
    Err(FactsError::Disagreement { what, goblin: shorten(goblin), object: shorten(object) })
}

/// Reports the first symbol that differs: the tables have tens of thousands of entries.
fn same_symbols(
    what: &'static str,
    goblin: Option<&[Symbol]>,
    object: Option<&[Symbol]>,
) -> Result<(), FactsError> {
    if goblin == object {
        return Ok(());
    }
    let (goblin, object) = (goblin.unwrap_or_default(), object.unwrap_or_default());
    let differs = (0..goblin.len().max(object.len())).find(|&index| goblin.get(index) != object.get(index));
    let show = |symbols: &[Symbol]| match differs.and_then(|index| symbols.get(index)) {
        Some(symbol) => format!(
            "{} symbols, `{}` at {:#x} among them",
            symbols.len(),
            String::from_utf8_lossy(&symbol.name[..symbol.name.len().min(80)]),
            symbol.value
        ),
        None => format!("{} symbols", symbols.len()),
    };
    Err(FactsError::Disagreement { what, goblin: show(goblin), object: show(object) })
}

fn shorten(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(400) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}
