//! Vectors of integers, for products of bf16 and int8.
//!
//! A vector has 64 bytes: 16 lanes of 32 bits, each one a number or a group of two bf16 or four bytes.

use super::Simd;

/// The integer vectors of an instruction set.
pub(crate) trait Integers: Simd {
    /// 16 lanes of 32 bits.
    type I32: Copy;

    /// # Safety
    ///
    /// 64 bytes can be read at `from`, of any alignment.
    unsafe fn load_bytes(self, from: *const u8) -> Self::I32;
    /// All lanes `value`.
    fn splat_i32(self, value: i32) -> Self::I32;
    /// The bits of the lanes.
    fn to_bits(self, value: Self::F32) -> Self::I32;
    /// Lanes of these bits.
    #[expect(clippy::wrong_self_convention, reason = "`self` is the evidence for the instructions")]
    fn from_bits(self, bits: Self::I32) -> Self::F32;
    /// The nearest f32 of each lane, ties to even.
    fn to_f32(self, value: Self::I32) -> Self::F32;
    /// `a - b`, modulo 2^32
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// `a * b`, modulo 2^32
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32;
    /// The low and the high bf16 of each lane.
    fn bf16_pairs(self, lanes: Self::I32) -> [Self::F32; 2];
    /// The signed bytes 0 and 2 of each lane as two numbers of 16 bits, and bytes 1 and 3.
    fn signed_bytes(self, lanes: Self::I32) -> [Self::I32; 2];
    /// The unsigned bytes 0 and 2 of each lane as two numbers of 16 bits, and bytes 1 and 3.
    fn unsigned_bytes(self, lanes: Self::I32) -> [Self::I32; 2];
    /// `sum + a.low * b.low + a.high * b.high`, of the two signed 16-bit numbers of each lane.
    fn dot_i16(self, a: Self::I32, b: Self::I32, sum: Self::I32) -> Self::I32;
}
