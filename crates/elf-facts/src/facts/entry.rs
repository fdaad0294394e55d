//! The code at the entry point.

use serde::Serialize;

use crate::bytes::{Words, slice};
use crate::elf::symbols::Symbol;
use crate::elf::types::{Header, PT_LOAD, Segment};
use crate::facts::unwind_table::{FunctionRange, UnwindTable};

/// The code at the entry point.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct EntryPoint {
    /// File offset of the first instruction, if an executable PT_LOAD loads it from the file.
    pub offset: Option<u64>,
    /// The first bytes of code: enough for a few instructions.
    #[serde(skip)]
    pub code: Vec<u8>,
    /// The bytes before it in the same segment, at most eight.
    #[serde(skip)]
    pub code_before: Vec<u8>,
    /// A symbol of that address.
    pub symbol: Option<String>,
    /// Address of the symbol `_start`, if it is defined.
    pub start_symbol: Option<u64>,
    /// The function around the entry point, from the unwind table.
    pub function: Option<FunctionRange>,
}

/// Bytes of code that are kept.
const CODE_BYTES: u64 = 64;
const CODE_BYTES_BEFORE: u64 = 8;

pub(super) fn entry_point(
    words: Words,
    header: &Header,
    segments: &[Segment],
    symbols: Option<&[Symbol]>,
    unwind: Option<&UnwindTable>,
) -> EntryPoint {
    const ARM: u16 = 40;
    // The lowest bit selects the instruction set.
    let thumb = |address: u64| if header.machine_number == ARM { address & !1 } else { address };
    let entry = thumb(header.entry);
    let code = segments.iter().filter(|segment| segment.kind_number == PT_LOAD && segment.is_executable());
    let segment = code.clone().find(|segment| segment.offset_of(entry).is_some());
    // The segments of a packed file may end beyond the file.
    let is_in_file = |offset: &u64| *offset < words.bytes.len() as u64;
    let offset = segment.and_then(|segment| segment.offset_of(entry)).filter(is_in_file);
    let kept = segment.zip(offset).and_then(|(segment, offset)| {
        // A segment of a cut packed file may end beyond the file.
        let end = segment.end_offset().min(words.bytes.len() as u64);
        slice(words.bytes, offset, end.saturating_sub(offset).min(CODE_BYTES))
    });
    let before = segment.zip(offset).and_then(|(segment, offset)| {
        let size = offset.saturating_sub(segment.offset).min(CODE_BYTES_BEFORE);
        slice(words.bytes, offset - size, size)
    });
    let defined = symbols.unwrap_or_default().iter().filter(|symbol| symbol.section != 0);
    let mut at_entry = defined.clone().filter(|symbol| {
        // Symbols of sections and files name no code.
        thumb(symbol.value) == entry && !matches!(symbol.info & 0xf, 3 | 4) && !symbol.name.is_empty()
    });
    let start = defined.clone().find(|symbol| symbol.name == b"_start");
    EntryPoint {
        offset,
        code: kept.unwrap_or_default().to_vec(),
        code_before: before.unwrap_or_default().to_vec(),
        symbol: at_entry.next().map(|symbol| String::from_utf8_lossy(symbol.name).into_owned()),
        start_symbol: start.map(|symbol| thumb(symbol.value)),
        function: unwind.and_then(|table| table.function_at(words, segments, entry)),
    }
}
