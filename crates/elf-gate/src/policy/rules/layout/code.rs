//! Pointers to code in the data of a program.

use elf_facts::facts::{Facts, PT_GNU_EH_FRAME, PT_LOAD};

use crate::policy::check_result::CheckResult;
use crate::policy::rules::layout::problems::{Hex, Problems};

pub(super) fn check(facts: &Facts) -> CheckResult {
    let mut problems = Problems::default();
    for array in &facts.code_arrays {
        problems.require(!array.is_ragged, &array.section, "whole pointers", "a part of one");
        for &pointer in &array.outside {
            problems.require(false, &array.section, "pointers into executable segments", Hex(pointer));
        }
    }
    for &address in facts.address_table.iter().flat_map(|table| &table.outside) {
        problems.require(false, ".got", "addresses of segments", Hex(address));
    }
    unwind_table(facts, &mut problems);
    build_id(facts, &mut problems);
    problems.result("pointers to code that lead into code")
}

fn unwind_table(facts: &Facts, problems: &mut Problems) {
    const NAME: &str = ".eh_frame_hdr";
    let Some(table) = &facts.unwind_table else {
        let segment = facts.segments.iter().any(|segment| segment.kind_number == PT_GNU_EH_FRAME);
        return problems.require(!segment || facts.is_debug_only, NAME, "a header", "fewer than four bytes");
    };
    problems.require(table.version == 1, NAME, "version 1", table.version);
    let is_usual = matches!(table.encodings, [0x1b, 0x03, 0x3b] | [0x1b, 0xff, 0xff]);
    let [pointer, count, entries] = table.encodings;
    problems.require(
        is_usual,
        NAME,
        "encodings 1b 03 3b, or 1b ff ff without a table",
        format_args!("{pointer:02x} {count:02x} {entries:02x}"),
    );
    problems.require(
        table.spare_bytes >= 0,
        NAME,
        "space for its table",
        format_args!("{} bytes too few", table.spare_bytes.unsigned_abs()),
    );
    if let (Some(found), Some(frames)) = (table.frames_address, facts.section(".eh_frame")) {
        let expected = frames.address;
        problems.require(found == expected, NAME, format_args!(".eh_frame at {expected:#x}"), Hex(found));
    }
    if let Some((first, last)) = table.functions {
        let code = || facts.segments.iter().filter(|s| s.kind_number == PT_LOAD && s.is_executable());
        for function in [first, last] {
            let is_code = code().any(|segment| (segment.address..segment.end_address()).contains(&function));
            problems.require(is_code, NAME, "functions in executable segments", Hex(function));
        }
        problems.require(first <= last, NAME, "a sorted table", format_args!("{first:#x} before {last:#x}"));
    }
}

/// The length of the note and of its section.
fn build_id(facts: &Facts, problems: &mut Problems) {
    const NAME: &str = ".note.gnu.build-id";
    let Some(id) = &facts.build_id else { return };
    let id_bytes = id.len() as u64 / 2;
    problems.require((8..=64).contains(&id_bytes), NAME, "an id of 8 to 64 bytes", id_bytes);
    if let Some(section) = facts.section(NAME).filter(|section| section.has_contents()) {
        // Three words, the owner `GNU`, the id.
        let expected = 16 + id_bytes.next_multiple_of(4);
        problems.require(
            section.size_bytes == expected,
            NAME,
            format_args!("{expected} bytes"),
            section.size_bytes,
        );
    }
}
