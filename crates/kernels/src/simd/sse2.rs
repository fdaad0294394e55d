//! Four registers of SSE2, which every x86-64 CPU has. There is no fused multiply-add.

use std::arch::x86_64::{
    __m128, __m128i, _mm_add_epi32 as add_epi32, _mm_add_ps as add_ps, _mm_and_si128 as and_si,
    _mm_castps_si128 as castps_si, _mm_castsi128_ps as castsi_ps, _mm_cvtepi32_ps as cvtepi32_ps,
    _mm_div_ps as div_ps, _mm_loadu_ps as loadu_ps, _mm_loadu_si128 as loadu_si,
    _mm_madd_epi16 as madd_epi16, _mm_max_ps as max_ps, _mm_min_ps as min_ps, _mm_mul_epu32,
    _mm_mul_ps as mul_ps, _mm_set1_epi32 as set1_epi32, _mm_set1_ps as set1_ps, _mm_shuffle_epi32,
    _mm_slli_epi16 as slli_epi16, _mm_slli_epi32 as slli_epi32, _mm_srai_epi16 as srai_epi16,
    _mm_srli_epi16 as srli_epi16, _mm_srli_si128, _mm_storeu_ps as storeu_ps, _mm_sub_epi32 as sub_epi32,
    _mm_sub_ps as sub_ps, _mm_unpacklo_epi32,
};

use super::register_arrays::{each, implement_by_registers};
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

implement_by_registers! {
    Sse2: [__m128, __m128i], registers [0 1 2 3], tile_vectors 2,
    call |simd, kernel| kernel.run(simd),
    mul_add |a, b, c| add_ps(mul_ps(a, b), c),
    // SSE2 multiplies lanes 0 and 2 only; the low halves of unsigned and signed products are equal.
    mul_i32 |a, b| {
        let even = _mm_mul_epu32(a, b);
        let odd = _mm_mul_epu32(_mm_srli_si128::<4>(a), _mm_srli_si128::<4>(b));
        let (even, odd) = (_mm_shuffle_epi32::<0b1000>(even), _mm_shuffle_epi32::<0b1000>(odd));
        _mm_unpacklo_epi32(even, odd)
    },
    panel_loop |_rows, _tile| false,
}
