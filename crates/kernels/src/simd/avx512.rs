//! One register of AVX-512.

use std::arch::x86_64::*;

use super::{Integers, Kernel, LANES, PanelLoop, Simd, panel_loop};

/// Evidence that the CPU has AVX-512 F, VL, BW and DQ.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        Avx512(())
    }
}

/// The first `len` lanes.
#[inline(always)]
fn mask(len: usize) -> __mmask16 {
    debug_assert!(len <= LANES);
    ((1u32 << len) - 1) as __mmask16
}

/// Calls intrinsics in a method that has `self` as evidence for their instructions.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: a value of the token exists only when the CPU has the instructions.
        unsafe { $call }
    };
}

impl Simd for Avx512 {
    type F32 = __m512;
    const TILE_VECTORS: usize = 28;

    // Not inlined here, because Rust 1.95 ignores `inline(never)` on a function with `target_feature`.
    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,fma")]
        fn run<K: Kernel>(kernel: K, simd: Avx512) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: a value of the token exists only when the CPU has the instructions.
        unsafe { run(kernel, self) }
    }

    #[inline(always)]
    unsafe fn panel_loop(self, rows: usize, tile: &PanelLoop) -> bool {
        // SAFETY: as the caller promises; a value of the token exists only when the CPU has the instructions.
        unsafe { panel_loop::avx512_f32(rows, tile) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        intrinsic!(_mm512_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: as the caller promises.
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn load_partial(self, from: *const f32, len: usize) -> __m512 {
        // SAFETY: as the caller promises; masked lanes are not read.
        unsafe { _mm512_maskz_loadu_ps(mask(len), from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m512) {
        // SAFETY: as the caller promises.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    unsafe fn store_partial(self, to: *mut f32, value: __m512, len: usize) {
        // SAFETY: as the caller promises; masked lanes are not written.
        unsafe { _mm512_mask_storeu_ps(to, mask(len), value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_add_ps(a, b))
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_sub_ps(a, b))
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_mul_ps(a, b))
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_div_ps(a, b))
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        intrinsic!(_mm512_fmadd_ps(a, b, c))
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_max_ps(a, b))
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        intrinsic!(_mm512_min_ps(a, b))
    }

    #[inline(always)]
    fn power_of_two(self, rounded: __m512) -> __m512 {
        intrinsic!(_mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(rounded))))
    }

    #[inline(always)]
    unsafe fn store_low_bytes(self, to: *mut u8, value: __m512) {
        let bytes = intrinsic!(_mm512_cvtepi32_epi8(_mm512_castps_si512(value)));
        // SAFETY: as the caller promises.
        unsafe { _mm_storeu_si128(to.cast(), bytes) };
    }

    #[inline(always)]
    fn reduce_add(self, value: __m512) -> f32 {
        let eight =
            intrinsic!(_mm256_add_ps(_mm512_castps512_ps256(value), _mm512_extractf32x8_ps::<1>(value)));
        let four = intrinsic!(_mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight)));
        let two = intrinsic!(_mm_add_ps(four, _mm_movehl_ps(four, four)));
        intrinsic!(_mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two))))
    }

    #[inline(always)]
    fn reduce_max(self, value: __m512) -> f32 {
        let eight =
            intrinsic!(_mm256_max_ps(_mm512_castps512_ps256(value), _mm512_extractf32x8_ps::<1>(value)));
        let four = intrinsic!(_mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight)));
        let two = intrinsic!(_mm_max_ps(four, _mm_movehl_ps(four, four)));
        intrinsic!(_mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two))))
    }

    /// Four rounds of 16 instructions: pairs of elements, pairs of pairs, and 128-bit blocks twice.
    #[inline(always)]
    fn transpose(self, rows: [__m512; LANES]) -> [__m512; LANES] {
        let mut a = rows;
        for i in 0..LANES / 2 {
            a[2 * i] = intrinsic!(_mm512_unpacklo_ps(rows[2 * i], rows[2 * i + 1]));
            a[2 * i + 1] = intrinsic!(_mm512_unpackhi_ps(rows[2 * i], rows[2 * i + 1]));
        }
        // `b[4 * i + c]` has, in block `l`, column `4 * l + c` of rows `4 * i` to `4 * i + 3`.
        let mut b = a;
        for i in 0..LANES / 4 {
            for c in 0..2 {
                let low = intrinsic!(_mm512_castps_pd(a[4 * i + c]));
                let high = intrinsic!(_mm512_castps_pd(a[4 * i + 2 + c]));
                b[4 * i + 2 * c] = intrinsic!(_mm512_castpd_ps(_mm512_unpacklo_pd(low, high)));
                b[4 * i + 2 * c + 1] = intrinsic!(_mm512_castpd_ps(_mm512_unpackhi_pd(low, high)));
            }
        }
        for c in 0..4 {
            let low = intrinsic!(_mm512_shuffle_f32x4::<0x88>(b[c], b[4 + c]));
            let high = intrinsic!(_mm512_shuffle_f32x4::<0x88>(b[8 + c], b[12 + c]));
            a[c] = intrinsic!(_mm512_shuffle_f32x4::<0x88>(low, high));
            a[8 + c] = intrinsic!(_mm512_shuffle_f32x4::<0xdd>(low, high));
            let low = intrinsic!(_mm512_shuffle_f32x4::<0xdd>(b[c], b[4 + c]));
            let high = intrinsic!(_mm512_shuffle_f32x4::<0xdd>(b[8 + c], b[12 + c]));
            a[4 + c] = intrinsic!(_mm512_shuffle_f32x4::<0x88>(low, high));
            a[12 + c] = intrinsic!(_mm512_shuffle_f32x4::<0xdd>(low, high));
        }
        a
    }

    #[inline(always)]
    fn to_array(self, value: __m512) -> [f32; LANES] {
        // SAFETY: both types have 64 bytes, and every bit pattern is a value.
        unsafe { std::mem::transmute(value) }
    }
}

impl Integers for Avx512 {
    type I32 = __m512i;

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> __m512i {
        intrinsic!(_mm512_set1_epi32(value))
    }

    #[inline(always)]
    fn to_bits(self, value: __m512) -> __m512i {
        intrinsic!(_mm512_castps_si512(value))
    }

    #[inline(always)]
    fn from_bits(self, bits: __m512i) -> __m512 {
        intrinsic!(_mm512_castsi512_ps(bits))
    }

    #[inline(always)]
    fn to_f32(self, value: __m512i) -> __m512 {
        intrinsic!(_mm512_cvtepi32_ps(value))
    }

    #[inline(always)]
    fn sub_i32(self, a: __m512i, b: __m512i) -> __m512i {
        intrinsic!(_mm512_sub_epi32(a, b))
    }

    #[inline(always)]
    fn mul_i32(self, a: __m512i, b: __m512i) -> __m512i {
        intrinsic!(_mm512_mullo_epi32(a, b))
    }

    #[inline(always)]
    fn bf16_pairs(self, lanes: __m512i) -> [__m512; 2] {
        let low = intrinsic!(_mm512_slli_epi32::<16>(lanes));
        let high = intrinsic!(_mm512_and_si512(lanes, _mm512_set1_epi32(!0xffff)));
        [self.from_bits(low), self.from_bits(high)]
    }

    #[inline(always)]
    fn signed_bytes(self, lanes: __m512i) -> [__m512i; 2] {
        intrinsic!([_mm512_srai_epi16::<8>(_mm512_slli_epi16::<8>(lanes)), _mm512_srai_epi16::<8>(lanes)])
    }

    #[inline(always)]
    fn unsigned_bytes(self, lanes: __m512i) -> [__m512i; 2] {
        intrinsic!([_mm512_and_si512(lanes, _mm512_set1_epi32(0x00ff_00ff)), _mm512_srli_epi16::<8>(lanes)])
    }

    #[inline(always)]
    fn dot_i16(self, a: __m512i, b: __m512i, sum: __m512i) -> __m512i {
        intrinsic!(_mm512_add_epi32(sum, _mm512_madd_epi16(a, b)))
    }
}
