//! Two registers of AVX2.

use std::arch::x86_64::*;

use super::{Integers, Kernel, LANES, Simd};

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

/// Registers of a vector.
const REGISTERS: usize = 2;
/// Lanes of a register.
const WIDTH: usize = LANES / REGISTERS;

/// Calls an intrinsic for each register, in a method that has `self` as evidence for its instructions. Repeats the code instead of
/// calling a closure: the function that would call it, such as `array::from_fn`, is compiled without the instructions.
macro_rules! each {
    ($i:ident => $call:expr) => {
        [
            each!(@ $i = 0, $call),
            each!(@ $i = 1, $call),
        ]
    };
    (@ $i:ident = $register:literal, $call:expr) => {{
        let $i = $register;
        // SAFETY: a value of the token exists only when the CPU has the instructions.
        unsafe { $call }
    }};
}

impl Simd for Avx2 {
    type F32 = [__m256; REGISTERS];
    const TILE_VECTORS: usize = 6;

    // Not inlined here, because Rust 1.95 ignores `inline(never)` on a function with `target_feature`.
    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,fma")]
        fn run<K: Kernel>(kernel: K, simd: Avx2) -> K::Output {
            kernel.run(simd)
        }
        // SAFETY: a value of the token exists only when the CPU has the instructions.
        unsafe { run(kernel, self) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F32 {
        each!(_i => _mm256_set1_ps(value))
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Self::F32 {
        each!(i => _mm256_loadu_ps(from.add(i * WIDTH)))
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
        let _: [(); REGISTERS] = each!(i => _mm256_storeu_ps(to.add(i * WIDTH), value[i]));
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
        each!(i => _mm256_add_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm256_sub_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm256_mul_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm256_div_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32 {
        each!(i => _mm256_fmadd_ps(a[i], b[i], c[i]))
    }

    #[inline(always)]
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm256_max_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn min(self, a: Self::F32, b: Self::F32) -> Self::F32 {
        each!(i => _mm256_min_ps(a[i], b[i]))
    }

    #[inline(always)]
    fn power_of_two(self, rounded: Self::F32) -> Self::F32 {
        each!(i => _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(rounded[i]))))
    }

    #[inline(always)]
    fn to_array(self, value: Self::F32) -> [f32; LANES] {
        // SAFETY: both types have 64 bytes, and every bit pattern is a value.
        unsafe { std::mem::transmute(value) }
    }
}

impl Integers for Avx2 {
    type I32 = [__m256i; REGISTERS];

    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> Self::I32 {
        each!(i => _mm256_loadu_si256(from.add(i * size_of::<__m256i>()).cast()))
    }

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Self::I32 {
        each!(_i => _mm256_set1_epi32(value))
    }

    #[inline(always)]
    fn to_bits(self, value: Self::F32) -> Self::I32 {
        each!(i => _mm256_castps_si256(value[i]))
    }

    #[inline(always)]
    fn from_bits(self, bits: Self::I32) -> Self::F32 {
        each!(i => _mm256_castsi256_ps(bits[i]))
    }

    #[inline(always)]
    fn to_f32(self, value: Self::I32) -> Self::F32 {
        each!(i => _mm256_cvtepi32_ps(value[i]))
    }

    #[inline(always)]
    fn sub_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        each!(i => _mm256_sub_epi32(a[i], b[i]))
    }

    #[inline(always)]
    fn mul_i32(self, a: Self::I32, b: Self::I32) -> Self::I32 {
        each!(i => _mm256_mullo_epi32(a[i], b[i]))
    }

    #[inline(always)]
    fn bf16_pairs(self, lanes: Self::I32) -> [Self::F32; 2] {
        let low = each!(i => _mm256_slli_epi32::<16>(lanes[i]));
        let high = each!(i => _mm256_and_si256(lanes[i], _mm256_set1_epi32(!0xffff)));
        [self.from_bits(low), self.from_bits(high)]
    }

    #[inline(always)]
    fn signed_bytes(self, lanes: Self::I32) -> [Self::I32; 2] {
        let low = each!(i => _mm256_srai_epi16::<8>(_mm256_slli_epi16::<8>(lanes[i])));
        [low, each!(i => _mm256_srai_epi16::<8>(lanes[i]))]
    }

    #[inline(always)]
    fn unsigned_bytes(self, lanes: Self::I32) -> [Self::I32; 2] {
        let low = each!(i => _mm256_and_si256(lanes[i], _mm256_set1_epi32(0x00ff_00ff)));
        [low, each!(i => _mm256_srli_epi16::<8>(lanes[i]))]
    }

    #[inline(always)]
    fn dot_i16(self, a: Self::I32, b: Self::I32, sum: Self::I32) -> Self::I32 {
        each!(i => _mm256_add_epi32(sum[i], _mm256_madd_epi16(a[i], b[i])))
    }
}
