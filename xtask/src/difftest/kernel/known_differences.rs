//! Edits that break the start and that no static reading of the file can find, each with its reason.

use elf_gate::Stage;

use super::edits::Edit;
use super::test_program::TestProgram;

/// A class of such edits.
struct Known {
    matches: fn(&TestProgram, &Edit) -> bool,
    reason: &'static str,
}

const KNOWN: &[Known] = &[
    // The release has symbols, or an unwind table of all functions: there nothing is listed.
    Known {
        matches: |program, edit| {
            program.gate.stage == Stage::Stripped && program.gate.debug.is_none() && edit.place == "e_entry"
        },
        reason: "the entry point is the start of another function, in a program without symbols",
    },
    Known {
        matches: |program, edit| program.name == "zig" && edit.place.ends_with("PT_GNU_STACK p_memsz"),
        reason: "the start code of zig demands a stack of whole pages; other programs accept every size",
    },
];

/// Less than this part of the edits that break the start may be listed.
pub const SHARE_MAX: f64 = 0.01;

/// The reason for which the gate cannot refuse the edit.
pub fn reason(program: &TestProgram, edit: &Edit) -> Option<&'static str> {
    KNOWN.iter().find(|known| (known.matches)(program, edit)).map(|known| known.reason)
}
