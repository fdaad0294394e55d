//! The kernel sets of OpenBLAS: which one runs, which one this CPU should run, and the choice of another one.
//!
//! OpenBLAS detects the CPU before main. The environment has no influence (a patch removes it), so only
//! [`select_blas_kernels`] changes the detected set. `kernels` in release.toml has the sets of a build. Every build also has the
//! one for CPUs without AVX2.

use std::ffi::CStr;
use std::fmt;
use std::str::FromStr;

use crate::blas;

/// A kernel set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlasKernels {
    /// SSE3: for every CPU without AVX2.
    Prescott,
    /// AVX2, tuned for Intel.
    Haswell,
    /// AVX2, tuned for AMD.
    Zen,
    /// AVX-512.
    SkylakeX,
    /// AVX-512 on CPUs with AMX.
    SapphireRapids,
}

/// Registers of a kernel set; ascending, with the speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Sse3,
    Avx2,
    Avx512,
}

impl BlasKernels {
    /// All sets, in ascending order.
    pub const ALL: [Self; 5] =
        [Self::Prescott, Self::Haswell, Self::Zen, Self::SkylakeX, Self::SapphireRapids];

    fn c_name(self) -> &'static CStr {
        match self {
            Self::Prescott => c"Prescott",
            Self::Haswell => c"Haswell",
            Self::Zen => c"Zen",
            Self::SkylakeX => c"SkylakeX",
            Self::SapphireRapids => c"SapphireRapids",
        }
    }

    /// The name in OpenBLAS.
    pub fn name(self) -> &'static str {
        // The names are ASCII.
        self.c_name().to_str().unwrap_or_default()
    }

    /// Whether the CPU and the operating system support the instructions of the set.
    pub fn run_here(self) -> bool {
        match self {
            Self::Prescott => cpu::has_sse3(),
            Self::Haswell | Self::Zen => cpu::has_avx2(),
            Self::SkylakeX => cpu::has_avx512(),
            Self::SapphireRapids => cpu::has_amx(),
        }
    }

    fn level(self) -> Level {
        match self {
            Self::Prescott => Level::Sse3,
            Self::Haswell | Self::Zen => Level::Avx2,
            Self::SkylakeX | Self::SapphireRapids => Level::Avx512,
        }
    }

    /// The set that OpenBLAS uses; `None` for one that this module does not list.
    fn current() -> Option<Self> {
        openblas_sys::core_name().parse().ok()
    }
}

impl fmt::Display for BlasKernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for BlasKernels {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|set| set.name().eq_ignore_ascii_case(name));
        found.ok_or_else(|| format!("expected one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

impl Level {
    fn of_cpu() -> Self {
        match () {
            () if cpu::has_avx512() => Self::Avx512,
            () if cpu::has_avx2() => Self::Avx2,
            () => Self::Sse3,
        }
    }
}

/// Features as OpenBLAS requires them; the operating system must have enabled the registers.
#[cfg(target_arch = "x86_64")]
mod cpu {
    pub fn has_sse3() -> bool {
        is_x86_feature_detected!("sse3")
    }

    pub fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    pub fn has_avx512() -> bool {
        // One list would not end: these are the extensions that `-march=skylake-avx512` allows.
        has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    }

    /// CPUID leaf 7, EDX: bit 22 is AMX-BF16. The kernels in single precision do not use its registers.
    pub fn has_amx() -> bool {
        has_avx512()
            && is_x86_feature_detected!("avx512bf16")
            && std::arch::x86_64::__cpuid_count(7, 0).edx & (1 << 22) != 0
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod cpu {
    pub fn has_sse3() -> bool {
        false
    }

    pub fn has_avx2() -> bool {
        false
    }

    pub fn has_avx512() -> bool {
        false
    }

    pub fn has_amx() -> bool {
        false
    }
}

/// Why a kernel set cannot be selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KernelError {
    /// The CPU lacks instructions of the set.
    Unsupported {
        /// The best set for this CPU that OpenBLAS detected.
        detected: Option<BlasKernels>,
    },
    /// The build has no such set.
    NotBuilt,
    /// A product may be in progress.
    InUse,
}

impl fmt::Display for KernelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { detected: Some(detected) } => {
                write!(f, "this CPU lacks their instructions; it runs {detected}")
            }
            Self::Unsupported { detected: None } => f.write_str("this CPU lacks their instructions"),
            Self::NotBuilt => f.write_str("this build does not have them"),
            Self::InUse => f.write_str("a computation has begun with others"),
        }
    }
}

impl std::error::Error for KernelError {}

/// Uses a kernel set in place of the detected one. Only before the first computation.
pub fn select_blas_kernels(wanted: BlasKernels) -> Result<(), KernelError> {
    if !wanted.run_here() {
        return Err(KernelError::Unsupported { detected: BlasKernels::current() });
    }
    blas::before_first_use(|| {
        let before = BlasKernels::current();
        // SAFETY: no computation has begun, none can begin meanwhile, and the CPU has the instructions.
        let selected = unsafe { openblas_sys::set_core(wanted.c_name()) };
        if selected.is_ok() && BlasKernels::current() == Some(wanted) {
            return Ok(());
        }
        if let Some(before) = before {
            // SAFETY: as above; OpenBLAS itself selected this set.
            let _ = unsafe { openblas_sys::set_core(before.c_name()) };
        }
        Err(KernelError::NotBuilt)
    })
    .unwrap_or(Err(KernelError::InUse))
}

/// The set that would be faster on this CPU than the one that OpenBLAS uses, if there is one.
pub fn better_blas_kernels() -> Option<BlasKernels> {
    better(BlasKernels::current().map_or(Level::Sse3, BlasKernels::level), Level::of_cpu())
}

fn better(current: Level, cpu: Level) -> Option<BlasKernels> {
    match cpu {
        _ if current >= cpu => None,
        Level::Sse3 => None,
        Level::Avx2 => Some(BlasKernels::Haswell),
        Level::Avx512 => Some(BlasKernels::SkylakeX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_with_narrower_registers_than_the_cpu_is_not_the_best() {
        use BlasKernels::{Haswell, Prescott, SapphireRapids, SkylakeX, Zen};
        assert_eq!(better(Haswell.level(), Level::Avx512), Some(SkylakeX));
        assert_eq!(better(Prescott.level(), Level::Avx2), Some(Haswell));
        assert_eq!(better(Level::Sse3, Level::Sse3), None);
        assert_eq!(better(Zen.level(), Level::Avx2), None);
        assert_eq!(better(SapphireRapids.level(), Level::Avx512), None);
    }

    #[test]
    fn the_detected_set_is_the_best_for_this_cpu() {
        assert_eq!(better_blas_kernels(), None, "{}", openblas_sys::core_name());
    }

    #[test]
    fn selects_every_set_that_this_cpu_runs_before_the_first_computation_only() {
        for set in BlasKernels::ALL {
            match select_blas_kernels(set) {
                Ok(()) => assert_eq!(openblas_sys::core_name(), set.name()),
                Err(KernelError::Unsupported { .. }) => assert!(!set.run_here()),
                // Another test of this process has computed.
                Err(KernelError::InUse) => return,
                Err(KernelError::NotBuilt) => panic!("{set} is not in this build"),
            }
        }
        drop(blas::acquire(1));
        assert_eq!(select_blas_kernels(BlasKernels::Haswell), Err(KernelError::InUse));
    }

    #[test]
    fn names_are_those_of_openblas_in_any_case() {
        assert_eq!("skylakex".parse(), Ok(BlasKernels::SkylakeX));
        let error = "sandybridge".parse::<BlasKernels>().unwrap_err();
        assert_eq!(error, "expected one of Prescott, Haswell, Zen, SkylakeX, SapphireRapids");
    }
}
