//! Dot products of AVX-512 VNNI and AVX-512 BF16.

use std::arch::x86_64::*;

use super::{Avx512, Dot, Integers, Kernel};

/// Calls an intrinsic in a method that has `self` as evidence for its instruction.
macro_rules! intrinsic {
    ($call:expr) => {
        // SAFETY: a value of the token exists only when the CPU has the instructions.
        unsafe { $call }
    };
}

/// Evidence that the CPU has AVX-512 VNNI and what [`Avx512`] shows.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Vnni(Avx512);

/// Evidence that the CPU has AVX-512 BF16 and what [`Avx512`] shows.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Bf16(Avx512);

impl Avx512Vnni {
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        // SAFETY: as the caller promises.
        Avx512Vnni(unsafe { Avx512::new() })
    }
}

impl Avx512Bf16 {
    /// # Safety
    ///
    /// The CPU has the instructions.
    #[inline(always)]
    pub unsafe fn new() -> Self {
        // SAFETY: as the caller promises.
        Avx512Bf16(unsafe { Avx512::new() })
    }
}

impl Dot for Avx512Vnni {
    type Simd = Avx512;
    type Sum = __m512i;
    type Weights = __m512i;
    type Activations = __m512i;
    const ROWS: usize = 12;
    const VECTORS: usize = 2;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    // Not inlined here, because Rust 1.95 ignores `inline(never)` on a function with `target_feature`.
    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx2,fma")]
        fn run<K: Kernel>(kernel: K, simd: Avx512) -> K::Output {
            kernel.run(simd)
        }
        intrinsic!(run(kernel, self.0))
    }

    #[inline(always)]
    unsafe fn load_sum(self, from: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { self.0.load_bytes(from) }
    }

    #[inline(always)]
    fn sum_bits(self, sum: __m512i) -> __m512 {
        self.0.from_bits(sum)
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { self.0.load_bytes(from) }
    }

    #[inline(always)]
    unsafe fn load_activations(self, from: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        self.0.splat_i32(unsafe { from.cast::<i32>().read_unaligned() })
    }

    #[inline(always)]
    fn dot(self, x: __m512i, w: __m512i, sum: __m512i) -> __m512i {
        intrinsic!(_mm512_dpbusd_epi32(sum, x, w))
    }
}

/// The same bits as pairs of bf16.
#[inline(always)]
fn pairs(lanes: __m512i) -> __m512bh {
    // SAFETY: both types have 64 bytes, and every bit pattern is a value.
    unsafe { std::mem::transmute(lanes) }
}

impl Dot for Avx512Bf16 {
    type Simd = Avx512;
    type Sum = __m512;
    type Weights = __m512i;
    type Activations = __m512i;
    const ROWS: usize = 12;
    const VECTORS: usize = 2;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    // Not inlined here, because Rust 1.95 ignores `inline(never)` on a function with `target_feature`.
    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,avx2,fma")]
        fn run<K: Kernel>(kernel: K, simd: Avx512) -> K::Output {
            kernel.run(simd)
        }
        intrinsic!(run(kernel, self.0))
    }

    #[inline(always)]
    unsafe fn load_sum(self, from: *const u8) -> __m512 {
        // SAFETY: as the caller promises.
        self.0.from_bits(unsafe { self.0.load_bytes(from) })
    }

    #[inline(always)]
    fn sum_bits(self, sum: __m512) -> __m512 {
        sum
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        unsafe { self.0.load_bytes(from) }
    }

    #[inline(always)]
    unsafe fn load_activations(self, from: *const u8) -> __m512i {
        // SAFETY: as the caller promises.
        self.0.splat_i32(unsafe { from.cast::<i32>().read_unaligned() })
    }

    #[inline(always)]
    fn dot(self, x: __m512i, w: __m512i, sum: __m512) -> __m512 {
        intrinsic!(_mm512_dpbf16_ps(sum, pairs(x), pairs(w)))
    }
}
