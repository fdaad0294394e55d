//! Notes that compiler and linker write into PT_NOTE segments and note sections.

use serde::Serialize;

use crate::bytes::hex;

/// One note, borrowed from the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawNote<'a> {
    pub(crate) owner: &'a [u8],
    pub(crate) kind: u32,
    pub(crate) description: &'a [u8],
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// Such as `GNU`.
    pub owner: String,
    /// `n_type`.
    pub kind_number: u32,
    /// Size of the description.
    pub size_bytes: u64,
    /// The first bytes of the description, in hexadecimal.
    pub description: String,
}

/// Protections that the processor and the kernel enable only when every object of the file supports them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ProcessorFeatures {
    /// x86: indirect branches must land on `endbr`.
    pub ibt: bool,
    /// x86: a shadow stack for return addresses.
    pub shstk: bool,
    /// AArch64: indirect branches must land on `bti`.
    pub bti: bool,
    /// AArch64: signed return addresses.
    pub pac: bool,
}

/// The ranges that hold notes, or an error when their sum exceeds twice the file: overlapping ranges of a hostile file
/// must not multiply the work.
pub(super) fn bounded(
    ranges: Vec<(u64, u64, u64)>,
    file_bytes: usize,
) -> Result<Vec<(u64, u64, u64)>, String> {
    let total = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.1));
    // Each note lies in a segment and in a section; .note.gnu.property lies in PT_GNU_PROPERTY and PT_NOTE.
    if total > (file_bytes as u64).saturating_mul(2) && !ranges.is_empty() {
        return Err(format!("notes of {total} bytes in a file of {file_bytes}"));
    }
    Ok(ranges)
}

/// Removes duplicates: the same note lies in a segment and in a section.
pub(super) fn deduplicated<'a>(notes: impl Iterator<Item = RawNote<'a>>) -> Vec<RawNote<'a>> {
    // annobin writes thousands of notes; the notes that rules use must not be lost behind them.
    const KEPT: usize = 128;
    const KEPT_OF_GNU: usize = 256;
    let mut kept: Vec<RawNote> = Vec::new();
    for note in notes {
        let limit = if note.owner == b"GNU" { KEPT_OF_GNU } else { KEPT };
        if kept.len() < limit && !kept.contains(&note) {
            kept.push(note);
        }
    }
    kept
}

pub(super) fn trim(owner: &[u8]) -> &[u8] {
    let end = owner.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &owner[..end]
}

pub(crate) fn build_id(notes: &[RawNote]) -> Option<String> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let note = notes.iter().find(|note| note.owner == b"GNU" && note.kind == NT_GNU_BUILD_ID)?;
    Some(hex(note.description))
}

pub(crate) fn to_facts(notes: &[RawNote]) -> Vec<Note> {
    const SHOWN_BYTES: usize = 64;
    let facts = notes.iter().map(|note| Note {
        owner: String::from_utf8_lossy(note.owner).into_owned(),
        kind_number: note.kind,
        size_bytes: note.description.len() as u64,
        description: hex(&note.description[..note.description.len().min(SHOWN_BYTES)]),
    });
    facts.collect()
}

/// Reads `NT_GNU_PROPERTY_TYPE_0`: entries of type, size and padded data.
pub(crate) fn features(
    notes: &[RawNote],
    machine: u16,
    class_bits: u8,
    is_little_endian: bool,
) -> ProcessorFeatures {
    const NT_GNU_PROPERTY_TYPE_0: u32 = 5;
    const X86: [u16; 2] = [3, 62];
    const AARCH64: u16 = 183;
    let mut features = ProcessorFeatures::default();
    let word = |data: &[u8]| {
        let raw: [u8; 4] = data.get(..4)?.try_into().ok()?;
        Some(if is_little_endian { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) })
    };
    let properties = notes.iter().filter(|note| note.owner == b"GNU" && note.kind == NT_GNU_PROPERTY_TYPE_0);
    for note in properties {
        let mut rest = note.description;
        while let (Some(kind), Some(size)) = (word(rest), rest.get(4..).and_then(word)) {
            let size = size as usize;
            let Some(data) = rest.get(8..).and_then(|data| data.get(..size)) else { break };
            let bits = word(data).unwrap_or(0);
            match kind {
                0xc000_0002 if X86.contains(&machine) => {
                    features.ibt |= bits & 1 != 0;
                    features.shstk |= bits & 2 != 0;
                }
                0xc000_0000 if machine == AARCH64 => {
                    features.bti |= bits & 1 != 0;
                    features.pac |= bits & 2 != 0;
                }
                _ => {}
            }
            let padded = (8 + size).next_multiple_of(if class_bits == 64 { 8 } else { 4 });
            rest = rest.get(padded..).unwrap_or_default();
        }
    }
    features
}
