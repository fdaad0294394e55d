//! Four registers of SSE2, which every x86-64 CPU has. There is no fused multiply-add.

use std::arch::x86_64::*;

use super::{Integers, Kernel, LANES, Simd};

/// The baseline of x86-64.
#[derive(Clone, Copy)]
pub(crate) struct Sse2(());

impl Sse2 {
    /// Every CPU of the architecture has the instructions.
    #[inline(always)]
    pub fn new() -> Self {
        Sse2(())
    }
}

/// Registers of a vector.
const REGISTERS: usize = 4;
/// Lanes of a register.
const WIDTH: usize = LANES / REGISTERS;

/// Calls an intrinsic for each register, in a method that has `self` as evidence for its instructions. Repeats the code instead of
/// calling a closure: the function that would call it, such as `array::from_fn`, is compiled without the instructions.
macro_rules! each {
    ($i:ident => $call:expr) => {
        [
            each!(@ $i = 0, $call),
            each!(@ $i = 1, $call),
            each!(@ $i = 2, $call),
            each!(@ $i = 3, $call),
        ]
    };
    (@ $i:ident = $register:literal, $call:expr) => {{
        let $i = $register;
        // SAFETY: a value of the token exists only when the CPU has the instructions.
        unsafe { $call }
    }};
}

impl Simd for Sse2 {
    type F32 = [__m128; REGISTERS];
    const TILE_VECTORS: usize = 2;

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        each!(_i => _mm_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32 {
        each!(i => _mm_loadu_ps(from.add(i * WIDTH)))
    }

    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, len: usize) -> Self::F32 {
        let mut lanes = [0.0f32; LANES];
        debug_assert!(len <= LANES);
        // SAFETY: as the caller promises; the array has 16 floats.
        unsafe { std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), len) };
        // SAFETY: the array has 16 floats.
        unsafe { self.load(lanes.as_ptr()) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Self::F32) {
        let _: [(); REGISTERS] = each!(i => _mm_storeu_ps(to.add(i * WIDTH), value[i]));
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, value: Self::F32, len: usize) {
        debug_assert!(len <= LANES);
        let lanes = self.to_array(value);
        // SAFETY: as the caller promises; the array has 16 floats.
        unsafe { std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, len) };
    }

    #[inline(always)]
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm_add_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm_sub_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm_mul_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm_div_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        each!(i => _mm_add_ps(_mm_mul_ps(a[i], b[i]), c[i]))
    }

    #[inline(always)]
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm_max_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm_min_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn power_of_two(self, rounded: Self::F32) -> Self::F32 {
        each!(i => _mm_castsi128_ps(_mm_slli_epi32::<23>(_mm_castps_si128(rounded[i]))))
    }

    #[inline(always)]
    fn to_array(self, value: Self::F32) -> [f32; LANES] {
        // SAFETY: both types have 64 bytes, and every bit pattern is a value.
        unsafe { std::mem::transmute(value) }
    }
}

impl Integers for Sse2 {
    type I32 = [__m128i; REGISTERS];

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> Self::I32 {
        each!(i => _mm_loadu_si128(from.add(i * size_of::<__m128i>()).cast()))
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Self::I32 {
        each!(_i => _mm_set1_epi32(value))
    }

    #[inline(always)]
    fn to_bits(self, value: Self::F32) -> Self::I32 {
        each!(i => _mm_castps_si128(value[i]))
    }

    #[inline(always)]
    fn from_bits(self, bits: Self::I32) -> Self::F32 {
        each!(i => _mm_castsi128_ps(bits[i]))
    }

    #[inline(always)]
    fn to_f32(self, value: Self::I32) -> Self::F32 {
        each!(i => _mm_cvtepi32_ps(value[i]))
    }

    #[inline(always)]
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        each!(i => _mm_sub_epi32(a[i], b[i]))
    }

    #[inline(always)]
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        // SSE2 multiplies lanes 0 and 2 only; the low halves of unsigned and signed products are equal.
        each!(i => {
            let even = _mm_mul_epu32(a[i], b[i]);
            let odd = _mm_mul_epu32(_mm_srli_si128::<4>(a[i]), _mm_srli_si128::<4>(b[i]));
            let (even, odd) = (_mm_shuffle_epi32::<0b1000>(even), _mm_shuffle_epi32::<0b1000>(odd));
            _mm_unpacklo_epi32(even, odd)
        })
    }

    #[inline(always)]
    fn bf16_pairs(self, lanes: Self::I32) -> [Self::F32; 2] {
        let low = each!(i => _mm_slli_epi32::<16>(lanes[i]));
        let high = each!(i => _mm_and_si128(lanes[i], _mm_set1_epi32(!0xffff)));
        [self.from_bits(low), self.from_bits(high)]
    }

    #[inline(always)]
    fn signed_bytes(self, lanes: Self::I32) -> [Self::I32; 2] {
        let low = each!(i => _mm_srai_epi16::<8>(_mm_slli_epi16::<8>(lanes[i])));
        [low, each!(i => _mm_srai_epi16::<8>(lanes[i]))]
    }

    #[inline(always)]
    fn unsigned_bytes(self, lanes: Self::I32) -> [Self::I32; 2] {
        let low = each!(i => _mm_and_si128(lanes[i], _mm_set1_epi32(0x00ff_00ff)));
        [low, each!(i => _mm_srli_epi16::<8>(lanes[i]))]
    }

    #[inline(always)]
    fn dot_i16(self, a: Self::I32, b: Self::I32, sum: Self::I32) -> Self::I32 {
        each!(i => _mm_add_epi32(sum[i], _mm_madd_epi16(a[i], b[i])))
    }
}
