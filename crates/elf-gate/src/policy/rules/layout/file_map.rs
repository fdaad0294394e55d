//! Bytes of the file that nothing names.

use elf_facts::facts::{Facts, Filling, UnclaimedRange};

use crate::policy::check_result::CheckResult;
use crate::policy::rules::layout::problems::Problems;

pub(super) fn check(facts: &Facts) -> CheckResult {
    let mut problems = Problems::default();
    let map = &facts.file_map;
    for range in map.unclaimed.iter().filter(|range| !is_padding(range)) {
        let place = if range.is_at_end { " at the end of the file" } else { "" };
        problems.add(format_args!(
            "{} bytes at offset {:#x}, after {}{place}",
            range.size_bytes, range.offset, range.after
        ));
    }
    if map.unlisted > 0 {
        problems.add(format_args!("{} unlisted ranges", map.unlisted));
    }
    for (first, second) in &map.overlaps {
        problems.add(format_args!("{first} and {second} share bytes"));
    }
    problems.result("only headers, sections and padding")
}

/// Linkers fill the space between sections with zeros, in code with instructions that stop or do nothing.
fn is_padding(range: &UnclaimedRange) -> bool {
    // patchelf overwrites the former place of a section that it moved.
    const PATCHELF: [u8; 2] = [b'X', b'Z'];
    match range.filling {
        Filling::Zeros => !range.is_at_end,
        Filling::Repeated(byte) => {
            PATCHELF.contains(&byte) || range.is_in_code && matches!(byte, 0xcc | 0x90 | 0xd4)
        }
        Filling::Nops => range.is_in_code,
        Filling::Data => false,
    }
}
