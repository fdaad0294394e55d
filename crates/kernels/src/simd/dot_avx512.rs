//! Dot products of AVX-512 VNNI and AVX-512 BF16.

use std::arch::x86_64::{__m512bh, __m512i, _mm512_dpbf16_ps, _mm512_dpbusd_epi32};

use super::dot::sums_of;
use super::{Avx512, Dot, Integers, Kernel, PanelLoop, Simd, panel_loop};

/// A token with its dot product, whose operands are one vector each.
macro_rules! dot_of_groups {
    (
        $(#[$evidence:meta])*
        $token:ident, features $features:literal, sums $sums:ident, panels $panel_loop:ident,
        dot |$x:ident, $w:ident, $sum:ident| $dot:expr,
    ) => {
        $(#[$evidence])*
        #[derive(Clone, Copy)]
        pub(crate) struct $token(Avx512);

        impl $token {
            /// # Safety
            ///
            /// The CPU has the instructions.
            #[inline(always)]
            pub unsafe fn new() -> Self {
                // SAFETY: as the caller promises.
                $token(unsafe { Avx512::new() })
            }
        }

        impl Dot for $token {
            sums_of!($sums);
            type Simd = Avx512;
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
                #[target_feature(enable = $features)]
                fn run<K: Kernel>(kernel: K, simd: Avx512) -> K::Output {
                    kernel.run(simd)
                }
                // SAFETY: a value of the token exists only when the CPU has the instructions.
                unsafe { run(kernel, self.0) }
            }

            #[inline(always)]
            unsafe fn panel_loop(self, rows: usize, tile: &PanelLoop) -> bool {
                // SAFETY: as the caller promises; a value of the token exists only when the CPU has the instructions.
                unsafe { panel_loop::$panel_loop(rows, tile) }
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
            fn dot(self, $x: __m512i, $w: __m512i, $sum: Self::Sum) -> Self::Sum {
                // SAFETY: a value of the token exists only when the CPU has the instructions.
                unsafe { $dot }
            }
        }
    };
}

dot_of_groups! {
    /// Evidence that the CPU has AVX-512 VNNI and what [`Avx512`] shows.
    Avx512Vnni, features "avx512f,avx512vl,avx512bw,avx512dq,avx512vnni,avx2,fma", sums i32, panels avx512_int8,
    dot |x, w, sum| _mm512_dpbusd_epi32(sum, x, w),
}

dot_of_groups! {
    /// Evidence that the CPU has AVX-512 BF16 and what [`Avx512`] shows.
    Avx512Bf16, features "avx512f,avx512vl,avx512bw,avx512dq,avx512bf16,avx2,fma", sums f32, panels avx512_bf16,
    dot |x, w, sum| _mm512_dpbf16_ps(sum, pairs(x), pairs(w)),
}

/// The same bits as pairs of bf16.
#[inline(always)]
fn pairs(lanes: __m512i) -> __m512bh {
    // SAFETY: both types have 64 bytes, and every bit pattern is a value.
    unsafe { std::mem::transmute(lanes) }
}
