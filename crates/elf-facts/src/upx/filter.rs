//! Reverses the filters that improve compression of code: they convert operands of calls from relative to absolute, so that
//! all calls of one function have equal bytes.

use crate::upx::format::{LINUX_AMD64, LINUX_ARM64};

/// Filter 0x49: CALL and JMP (E8, E9) and the two-byte conditional jumps (0F 80..8F).
pub(super) const X86_CALLS_AND_JUMPS: u8 = 0x49;
/// Filter 0x52: B and BL of 64-bit ARM.
pub(super) const ARM64_BRANCHES: u8 = 0x52;

/// The filter for code of this format.
pub(super) fn of_format(format: u8) -> Option<u8> {
    match format {
        LINUX_AMD64 => Some(X86_CALLS_AND_JUMPS),
        LINUX_ARM64 => Some(ARM64_BRANCHES),
        _ => None,
    }
}

/// Whether any byte changed; `None` for an unknown filter. UPX never names a filter that changes nothing.
pub(super) fn undo(data: &mut [u8], filter: u8, cto: u8) -> Option<bool> {
    match filter {
        X86_CALLS_AND_JUMPS => Some(undo_calls_and_jumps(data, cto)),
        ARM64_BRANCHES => Some(undo_arm64_branches(data)),
        _ => None,
    }
}

/// B and BL hold the distance in words in the lower 26 bits; the filter adds the position of the instruction.
fn undo_arm64_branches(data: &mut [u8]) -> bool {
    const OPERAND: u32 = 0x03ff_ffff;
    // The most significant bit distinguishes BL from B.
    const OPCODE: u32 = 0x7c00_0000;
    const BRANCH: u32 = 0x1400_0000;
    let mut changed = false;
    for (index, word) in data.chunks_exact_mut(4).enumerate() {
        let instruction = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        if instruction & OPCODE == BRANCH {
            let distance = instruction.wrapping_sub(index as u32) & OPERAND;
            changed |= distance != instruction & OPERAND;
            word.copy_from_slice(&(instruction & !OPERAND | distance).to_le_bytes());
        }
    }
    changed
}

/// Filtered operands are big-endian. Their first byte is a mark that no other operand starts with.
fn undo_calls_and_jumps(data: &mut [u8], cto: u8) -> bool {
    let mark = u32::from(cto) << 24;
    let mut changed = false;
    // End of the last changed operand: a conditional jump cannot start inside of it.
    let mut last_end = 0;
    let mut at = 0;
    while at + 5 <= data.len() {
        let is_call = matches!(data[at], 0xe8 | 0xe9);
        let is_condition =
            at > 0 && at != last_end && data[at - 1] == 0x0f && matches!(data[at], 0x80..=0x8f);
        if (is_call || is_condition) && data[at + 1] == cto {
            let operand = [data[at + 1], data[at + 2], data[at + 3], data[at + 4]];
            let absolute = u32::from_be_bytes(operand).wrapping_sub(mark);
            let relative = absolute.wrapping_sub(at as u32 + 1);
            changed |= operand != relative.to_le_bytes();
            data[at + 1..at + 5].copy_from_slice(&relative.to_le_bytes());
            at += 5;
            last_end = at;
        } else {
            at += 1;
        }
    }
    changed
}
