//! Two registers of AVX2.

use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_epi32 as add_epi32, _mm256_add_ps as add_ps, _mm256_and_si256 as and_si,
    _mm256_castps_si256 as castps_si, _mm256_castsi256_ps as castsi_ps, _mm256_cvtepi32_ps as cvtepi32_ps,
    _mm256_div_ps as div_ps, _mm256_fmadd_ps, _mm256_loadu_ps as loadu_ps, _mm256_loadu_si256 as loadu_si,
    _mm256_madd_epi16 as madd_epi16, _mm256_max_ps as max_ps, _mm256_min_ps as min_ps,
    _mm256_mul_ps as mul_ps, _mm256_mullo_epi32, _mm256_set1_epi32 as set1_epi32, _mm256_set1_ps as set1_ps,
    _mm256_slli_epi16 as slli_epi16, _mm256_slli_epi32 as slli_epi32, _mm256_srai_epi16 as srai_epi16,
    _mm256_srli_epi16 as srli_epi16, _mm256_storeu_ps as storeu_ps, _mm256_sub_epi32 as sub_epi32,
    _mm256_sub_ps as sub_ps,
};

use super::register_arrays::{each, implement_by_registers};
use super::{Integers, Kernel, LANES, Simd, panel_loop};

/// Evidence that the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Avx2(())
    }
}

implement_by_registers! {
    Avx2: [__m256, __m256i], registers [0 1], tile_vectors 6,
    call |simd, kernel| {
        #[target_feature(enable = "avx2,fma")]
        fn run<K: Kernel>(kernel: K, simd: Avx2) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: a value of the token exists only when the CPU has the instructions.
        unsafe { run(kernel, simd) }
    },
    mul_add |a, b, c| _mm256_fmadd_ps(a, b, c),
    mul_i32 |a, b| _mm256_mullo_epi32(a, b),
    // SAFETY: as the caller promises; a value of the token exists only when the CPU has the instructions.
    panel_loop |rows, tile| unsafe { panel_loop::avx2_f32(rows, tile) },
}
