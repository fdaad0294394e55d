//! f16: IEEE 754 binary16.

use super::Convert;
use crate::isa::Isa;
use crate::simd::dispatch;

/// Widens each f16, exactly: denormals become normal numbers, and a NaN stays a quiet NaN with its sign and payload. Panics
/// when the lengths differ.
pub fn f16_to_f32(isa: Isa, from: &[u16], to: &mut [f32]) {
    dispatch(isa, Convert { from, to, convert: widen });
}

/// The value of an f16.
#[inline(always)]
fn widen(value: u16) -> f32 {
    /// From the exponent bias of f16, 15, to that of f32, 127. The product is exact, also of denormals.
    const REBIAS: f32 = f32::from_bits((127 + 127 - 15) << 23);
    const INFINITY: u32 = 0x7c00;
    let sign = u32::from(value & 0x8000) << 16;
    let magnitude = u32::from(value & 0x7fff);
    let finite = (f32::from_bits(magnitude << 13) * REBIAS).to_bits();
    let quiet = if magnitude > INFINITY { 0x0040_0000 } else { 0 };
    let special = magnitude << 13 | 0x7f80_0000 | quiet;
    f32::from_bits(sign | if magnitude >= INFINITY { special } else { finite })
}
