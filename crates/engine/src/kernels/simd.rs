//! Selection of the instruction set, and the primitives of the kernels.

/// The instruction set of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Simd {
    /// The features that the target guarantees.
    Baseline,
    /// AVX2 and FMA.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F and VL, with FMA.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Simd {
    /// The best set that the CPU and the operating system support.
    pub fn detect() -> Simd {
        *Simd::available().last().unwrap_or(&Simd::Baseline)
    }

    /// All supported sets, in ascending order.
    pub fn available() -> Vec<Simd> {
        #[allow(unused_mut)] // other architectures have one set
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

/// Lanes of an accumulator: one register of AVX-512, two of AVX2, four of SSE and NEON.
pub(super) const LANES: usize = 16;

/// Whether the baseline has a fused multiply-add. Without one, `f32::mul_add` is a call into libm per element.
pub(super) const BASELINE_FMA: bool = cfg!(target_arch = "aarch64");

/// `a * b + c`.
#[inline(always)]
pub(super) fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// The sum of the lanes, added in pairs: the order is the same for every instruction set.
#[inline(always)]
pub(super) fn lane_sum(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Compiles `$body::<FMA>` once per instruction set behind one safe function whose first argument selects the set.
macro_rules! for_each_simd {
    ($(#[$doc:meta])* $name:ident = $body:ident($($arg:ident: $type:ty),*)) => {
        $(#[$doc])*
        pub(crate) fn $name(simd: $crate::kernels::simd::Simd, $($arg: $type),*) {
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
                $crate::kernels::simd::Simd::Baseline => {
                    $body::<{ $crate::kernels::simd::BASELINE_FMA }>($($arg),*)
                }
                // SAFETY: `Simd::available` yields this value only when the CPU has the features.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::simd::Simd::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: `Simd::available` yields this value only when the CPU has the features.
                #[cfg(target_arch = "x86_64")]
                $crate::kernels::simd::Simd::Avx512 => unsafe { avx512($($arg),*) },
            }
        }
    };
}
pub(super) use for_each_simd;
