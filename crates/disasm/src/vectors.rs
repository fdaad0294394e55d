//! The widest vector registers that code uses.

use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};
use serde::{Deserialize, Serialize};

/// Widest vector registers of a function, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum VectorWidth {
    /// No vector register.
    None,
    /// 128 bits.
    Xmm,
    /// 256 bits.
    Ymm,
    /// 512 bits.
    Zmm,
}

/// The widest vector registers among the operands of x86-64 code.
pub fn widest_registers(code: &[u8]) -> VectorWidth {
    let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
    let mut instruction = Instruction::default();
    let mut widest = VectorWidth::None;
    while decoder.can_decode() && widest < VectorWidth::Zmm {
        decoder.decode_out(&mut instruction);
        for operand in 0..instruction.op_count() {
            if instruction.op_kind(operand) == OpKind::Register {
                widest = widest.max(width(instruction.op_register(operand)));
            }
        }
    }
    widest
}

pub(crate) fn width(register: Register) -> VectorWidth {
    match register as usize {
        r if (Register::XMM0 as usize..=Register::XMM31 as usize).contains(&r) => VectorWidth::Xmm,
        r if (Register::YMM0 as usize..=Register::YMM31 as usize).contains(&r) => VectorWidth::Ymm,
        r if (Register::ZMM0 as usize..=Register::ZMM31 as usize).contains(&r) => VectorWidth::Zmm,
        _ => VectorWidth::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_registers_from_the_code() {
        let check = |code: &[u8], expected| assert_eq!(widest_registers(code), expected);
        check(&[0xc3], VectorWidth::None);
        check(&[0x0f, 0x58, 0xc0, 0xc3], VectorWidth::Xmm);
        check(&[0xc5, 0xfc, 0x58, 0xc0, 0xc3], VectorWidth::Ymm);
        check(&[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0, 0xc3], VectorWidth::Zmm);
        // `mov eax, 0x48..62`: the byte 0x62 that starts an EVEX prefix, as data
        check(&[0xb8, 0x62, 0xf1, 0x7c, 0x48, 0x0f, 0x58, 0xc0, 0xc3], VectorWidth::Xmm);
    }
}
