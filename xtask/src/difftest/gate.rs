//! The facts of the gate, in the form of the comparison.

use std::path::{Path, PathBuf};

use elf_gate::facts::{ElfType, SymbolTable};
use elf_gate::{Facts, cli};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::ToolFacts;

pub fn read(files: &[PathBuf]) -> Vec<Result<ToolFacts, String>> {
    files.par_iter().map(|path| read_one(path)).collect()
}

fn read_one(path: &Path) -> Result<ToolFacts, String> {
    let bytes = cli::read_file(path).map_err(|error| error.to_string())?;
    let facts = elf_gate::inspect(&bytes).map_err(|error| error.to_string())?;
    Ok(tool_facts(&facts))
}

fn tool_facts(facts: &Facts) -> ToolFacts {
    let mut reading = ToolFacts::new();
    let header = &facts.header;
    reading.insert("class", vec![header.class_bits.to_string()]);
    reading.insert("byte order", vec![if header.is_little_endian { "little" } else { "big" }.into()]);
    let kind = match header.elf_type {
        ElfType::Relocatable => "REL",
        ElfType::Executable => "EXEC",
        ElfType::Dynamic => "DYN",
        ElfType::Core => "CORE",
        ElfType::Other => "other",
    };
    reading.insert("type", vec![kind.into()]);
    reading.insert("machine", vec![header.machine_number.to_string()]);
    reading.insert("entry", vec![format!("{:#x}", header.entry)]);
    let segments = facts.segments.iter().map(|segment| {
        // Numbers are compared: readelf has names for more types than the gate, and LIEF has none.
        segment_line(
            segment.flags_number,
            [
                segment.offset,
                segment.address,
                segment.file_size_bytes,
                segment.memory_size_bytes,
                segment.align,
            ],
        )
    });
    reading.insert("segments", segments.collect());
    let kinds = facts.segments.iter().map(|segment| match segment.kind.strip_prefix("PT_") {
        Some(name) => name.into(),
        None => "?".into(),
    });
    reading.insert("segment names", kinds.collect());
    reading
        .insert("segment numbers", facts.segments.iter().map(|s| format!("{:#x}", s.kind_number)).collect());
    reading.insert("interpreter", facts.interpreter.iter().cloned().collect());
    reading.insert("build-id", facts.build_id.iter().cloned().collect());
    let dynamic = facts.dynamic.as_ref();
    let strings = |list: Option<&Vec<String>>| list.cloned().unwrap_or_default();
    reading.insert("needed", strings(dynamic.map(|dynamic| &dynamic.needed)));
    let one = |value: Option<&Option<String>>| value.cloned().flatten().into_iter().collect();
    reading.insert("soname", one(dynamic.map(|dynamic| &dynamic.soname)));
    reading.insert("rpath", one(dynamic.map(|dynamic| &dynamic.rpath)));
    reading.insert("runpath", one(dynamic.map(|dynamic| &dynamic.runpath)));
    let flag = |value: bool| vec![value.to_string()];
    reading.insert("text relocations", flag(dynamic.is_some_and(|dynamic| dynamic.has_text_relocations)));
    reading.insert("binds now", flag(dynamic.is_some_and(|dynamic| dynamic.binds_now)));
    let sizes = facts
        .sections
        .iter()
        .map(|section| format!("{} {:#x} {:#x}", section.name, section.offset, section.size_bytes));
    reading.insert("section sizes", sizes.collect());
    for (count, names, table) in [
        (".symtab entries", ".symtab names", &facts.symbols),
        (".dynsym entries", ".dynsym names", &facts.dynamic_symbols),
    ] {
        reading.insert(count, vec![table.as_ref().map_or(0, |table| table.entry_count).to_string()]);
        reading.insert(names, table.as_ref().map_or(Vec::new(), symbol_lines));
    }
    reading
}

fn symbol_lines(table: &SymbolTable) -> Vec<String> {
    table.iter().map(|(name, is_defined)| symbol_line(&String::from_utf8_lossy(name), is_defined)).collect()
}

/// Removes the version after `@`, which the tools write in different ways.
pub fn symbol_line(name: &str, is_defined: bool) -> String {
    let plain = name.split('@').next().unwrap_or_default();
    format!("{plain}{}", if is_defined { "" } else { " undefined" })
}

pub fn segment_line(flags: u32, numbers: [u64; 5]) -> String {
    let letter = |bit: u32, letter: char| if flags & bit != 0 { letter } else { '-' };
    let flags: String = [letter(4, 'r'), letter(2, 'w'), letter(1, 'x')].iter().collect();
    let [offset, address, file, memory, align] = numbers;
    format!("{flags} {offset:#x} {address:#x} {file:#x} {memory:#x} {align:#x}")
}
