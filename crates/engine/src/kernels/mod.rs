//! What is not a matrix product: GELU, softmax, layer norm. Written as plain loops over 16 lanes that the compiler turns
//! into vector code, compiled once for each instruction set, chosen once at start.
//!
//! Why so: intrinsics would be three copies of each function to keep equal; a build for one CPU would not start
//! on another. Every row is computed in the same order whatever its neighbours are, so that a text's vector does
//! not depend on its batch.
//!
//! Accuracy: GELU is within 1.2e-6 and exp within 2 units in the last place of the exact functions (see the tests);
//! the coefficients come from `fit.py` beside this file.

mod gelu;
mod norm;
mod softmax;

#[cfg(test)]
mod tests;

/// The instruction set that the kernels run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Simd {
    /// What the target guarantees.
    Baseline,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// The best that this CPU and its system run.
    pub fn detect() -> Simd {
        *Simd::available().last().unwrap_or(&Simd::Baseline)
    }

    /// All that this CPU runs, worst first.
    pub fn available() -> Vec<Simd> {
        #[allow(unused_mut)] // other architectures have one
        let mut sets = vec![Simd::Baseline];
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Simd::Avx2);
                if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
                    sets.push(Simd::Avx512);
                }
            }
        }
        sets
    }
}

/// Lanes of an accumulator: one AVX-512 register, two of AVX2, four of SSE and NEON.
const LANES: usize = 16;

/// Whether the baseline has a fused multiply-add: without one, `mul_add` would be a call into libm for each element.
const BASELINE_FMA: bool = cfg!(target_arch = "aarch64");

/// `a * b + c`.
#[inline(always)]
fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The sum of the lanes, in pairs: the order does not depend on the instruction set.
#[inline(always)]
fn lane_sum(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Compiles `$body::<FMA>` for each instruction set behind one safe function that takes the set first.
macro_rules! for_each_simd {
    ($(#[$doc:meta])* $name:ident = $body:ident($($arg:ident: $type:ty),*)) => {
        $(#[$doc])*
        pub(crate) fn $name(simd: $crate::kernels::Simd, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) {
                $body::<true>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx2,fma")]
            fn avx512($($arg: $type),*) {
                $body::<true>($($arg),*)
            }
            match simd {
                $crate::kernels::Simd::Baseline => $body::<{ $crate::kernels::BASELINE_FMA }>($($arg),*),
                // SAFETY: the value exists only where `Simd::available` found the features.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::Simd::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::Simd::Avx512 => unsafe { avx512($($arg),*) },
            }
        }
    };
}
use for_each_simd;

pub(crate) use gelu::gelu;
pub(crate) use norm::{add_bias_and_normalize, unit_length};
pub(crate) use softmax::softmax_rows;
