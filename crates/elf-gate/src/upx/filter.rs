//! Undoes the filter that makes x86-64 code compress better: the operands of near calls and jumps were turned from
//! relative to absolute, big-endian, and marked by one byte that occurs nowhere else in their place.

/// Filter 0x49: CALL and JMP (E8, E9) and the two-byte conditional jumps (0F 80..8F).
pub(super) const X86_CALLS_AND_JUMPS: u8 = 0x49;

/// Returns false for a filter that is not known here.
pub(super) fn undo(data: &mut [u8], filter: u8, cto: u8) -> bool {
    match filter {
        0 => true,
        X86_CALLS_AND_JUMPS => {
            undo_calls_and_jumps(data, cto);
            true
        }
        _ => false,
    }
}

fn undo_calls_and_jumps(data: &mut [u8], cto: u8) {
    let mark = u32::from(cto) << 24;
    // End of the last operand that was changed: a conditional jump cannot start with one of its bytes.
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
            data[at + 1..at + 5].copy_from_slice(&relative.to_le_bytes());
            at += 5;
            last_end = at;
        } else {
            at += 1;
        }
    }
}
