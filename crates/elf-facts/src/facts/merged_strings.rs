//! The string constants of a Go program. Its linker writes them one behind the other, sorted by length, without terminators, so
//! that `/home`, `/proc` and `/root/runc` look like one path.
//!
//! Source paths of Go are elsewhere, each with a terminator. A path among the constants is believed only when it is
//! delimited on both sides, as in a message or a compiler flag, or when it names a source file.

use std::ops::Range;

use crate::elf::types::Section;

/// The places of such constants; empty for programs of other compilers.
pub(super) struct MergedStrings(Vec<Range<u64>>);

impl MergedStrings {
    pub(super) fn new(sections: &[Section]) -> MergedStrings {
        // `.data.rel.ro.gopclntab` in position-independent programs.
        let is_go =
            |section: &Section| section.name.ends_with(".gopclntab") || section.name == ".go.buildinfo";
        if !sections.iter().any(is_go) {
            return MergedStrings(Vec::new());
        }
        let constants = sections.iter().filter(|section| section.name == ".rodata" && section.has_contents());
        MergedStrings(
            constants
                .map(|section| section.offset..section.offset.saturating_add(section.size_bytes))
                .collect(),
        )
    }

    /// Whether the path at these offsets may consist of parts of several constants.
    pub(super) fn may_join(&self, bytes: &[u8], path: Range<usize>) -> bool {
        self.0.iter().any(|place| place.contains(&(path.start as u64)))
            && !is_delimited(bytes, &path)
            && !names_source_file(bytes.get(path).unwrap_or_default())
    }
}

fn is_delimited(bytes: &[u8], path: &Range<usize>) -> bool {
    let before = &bytes[..path.start.min(bytes.len())];
    let opens = before.ends_with(b"-I")
        || before.ends_with(b"-L")
        || before.last().is_none_or(|byte| b"\0\t\n\r \"'`=:([{<,;".contains(byte));
    opens && bytes.get(path.end).is_none_or(|byte| b"\0\t\n\r \"'`:)]}>,;".contains(byte))
}

/// Whether a component of the path ends in a suffix of source files. The next constant may follow directly.
fn names_source_file(path: &[u8]) -> bool {
    const SUFFIXES: [&[u8]; 9] = [b".go", b".c", b".h", b".s", b".S", b".cc", b".cpp", b".rs", b".proto"];
    let ends_here = |at: usize, suffix: &[u8]| {
        // `.go` begins no longer suffix; `.c` begins `.config`.
        suffix == b".go" || path.get(at + suffix.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric())
    };
    (1..path.len())
        .filter(|&at| path[at] == b'.' && path[at - 1] != b'/')
        .any(|at| SUFFIXES.iter().any(|suffix| path[at..].starts_with(suffix) && ends_here(at, suffix)))
}
