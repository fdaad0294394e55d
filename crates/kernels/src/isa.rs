//! Instruction sets, and the choice of one.
//!
//! An [`Isa`] is evidence: a value exists only for a set that the CPU has and the operating system has enabled, so kernels take
//! it as their permission to execute the instructions.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// An instruction set that this CPU runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Isa(Level);

/// The instruction sets that have kernels, in ascending order; each one includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// What every CPU of the architecture has.
    Baseline,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, VL, BW and DQ.
    Avx512,
    /// AVX-512 with integer dot products.
    Avx512Vnni,
    /// The former with dot products of bf16.
    Avx512Bf16,
    /// Matrix tiles for bf16 and int8.
    Amx,
}

impl Level {
    /// All sets, in ascending order.
    pub const ALL: [Self; 6] =
        [Self::Baseline, Self::Avx2, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16, Self::Amx];

    /// The name in options, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Vnni => "avx512-vnni",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Amx => "amx",
        }
    }

    /// Whether the CPU and the operating system support the set itself, without those before it.
    fn is_supported(self) -> bool {
        match self {
            Self::Baseline => true,
            Self::Avx2 => cpu::has_avx2(),
            Self::Avx512 => cpu::has_avx512(),
            Self::Avx512Vnni => cpu::has_avx512_vnni(),
            Self::Avx512Bf16 => cpu::has_avx512_bf16(),
            Self::Amx => cpu::has_amx(),
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Isa {
    /// The set that needs no check.
    pub const BASELINE: Isa = Isa(Level::Baseline);

    /// All sets of this CPU, in ascending order.
    pub fn available() -> &'static [Isa] {
        static AVAILABLE: OnceLock<Vec<Isa>> = OnceLock::new();
        AVAILABLE.get_or_init(|| Level::ALL.into_iter().take_while(|l| l.is_supported()).map(Isa).collect())
    }

    /// Sets whose kernels cannot run on this CPU, as text for a report: nothing when there is none.
    ///
    /// A check that passes on all of [`Isa::available`] says nothing about these.
    pub fn not_run() -> Option<String> {
        let lacking: Vec<_> = Level::ALL.into_iter().filter(|level| Isa::of_level(*level).is_err()).collect();
        let names: Vec<_> = lacking.iter().map(|level| level.name()).collect();
        let it = if names.len() == 1 { "it" } else { "them" };
        (!names.is_empty()).then(|| format!("not run: {} (this CPU lacks {it})", names.join(", ")))
    }

    /// The last one of [`Isa::available`].
    pub fn best() -> Isa {
        Isa::available().last().copied().unwrap_or(Isa::BASELINE)
    }

    /// The set of this level, unless the CPU lacks it.
    pub fn of_level(level: Level) -> Result<Isa, IsaError> {
        let found = Isa::available().iter().copied().find(|isa| isa.0 == level);
        found.ok_or_else(|| IsaError(format!("this CPU lacks {level}; it has {}", names(Isa::available()))))
    }

    /// Which set this is.
    pub fn level(self) -> Level {
        self.0
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// Accepts the names of [`Level::name`] that this CPU has.
impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(name: &str) -> Result<Self, IsaError> {
        match Level::ALL.into_iter().find(|level| level.name() == name) {
            Some(level) => Isa::of_level(level),
            None => Err(IsaError(format!("expected one of {}", names(Isa::available())))),
        }
    }
}

/// Why an instruction set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsaError(String);

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IsaError {}

fn names(sets: &[Isa]) -> String {
    sets.iter().map(|isa| isa.0.name()).collect::<Vec<_>>().join(", ")
}

/// Features as CPUID reports them, with the registers that the operating system has enabled.
#[cfg(target_arch = "x86_64")]
mod cpu {
    use std::arch::x86_64::__cpuid_count;

    pub fn has_avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }

    pub fn has_avx512() -> bool {
        has_avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
    }

    pub fn has_avx512_vnni() -> bool {
        has_avx512() && is_x86_feature_detected!("avx512vnni")
    }

    pub fn has_avx512_bf16() -> bool {
        has_avx512_vnni() && is_x86_feature_detected!("avx512bf16")
    }

    /// Requests the tile registers from the kernel, once for the whole process: it enables them on request only, and their first
    /// use without the request ends the process. The request fails when an alternate signal stack is too small for
    /// the larger frame.
    pub fn has_amx() -> bool {
        const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
        const XFEATURE_XTILEDATA: libc::c_long = 18;
        /// CPUID leaf 7, EDX: AMX-BF16, AMX-TILE, AMX-INT8.
        const AMX: u32 = 1 << 22 | 1 << 24 | 1 << 25;
        /// XCR0: state of tile configuration and of tile data.
        const XCR0_TILES: u64 = 0b11 << 17;
        if !has_avx512_bf16() || __cpuid_count(7, 0).edx & AMX != AMX {
            return false;
        }
        // SAFETY: the CPU has AVX, so XGETBV is enabled.
        if unsafe { xcr0() } & XCR0_TILES != XCR0_TILES {
            return false;
        }
        // SAFETY: changes what the kernel saves for this process, and no memory.
        unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
    }

    #[target_feature(enable = "xsave")]
    fn xcr0() -> u64 {
        // SAFETY: the caller has checked that the CPU has the instruction; register 0 always exists.
        unsafe { std::arch::x86_64::_xgetbv(0) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod cpu {
    pub fn has_avx2() -> bool {
        false
    }

    pub fn has_avx512() -> bool {
        false
    }

    pub fn has_avx512_vnni() -> bool {
        false
    }

    pub fn has_avx512_bf16() -> bool {
        false
    }

    pub fn has_amx() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written past the capture of the test program, so that it is in the output of every run; `.config/nextest.toml` shows it at the end.
    #[test]
    fn prints_the_sets_that_were_not_tested() {
        use std::io::Write;
        let (run, text) = (names(Isa::available()), Isa::not_run());
        let line = format!("instruction sets run: {run}; {}\n", text.as_deref().unwrap_or("all were run"));
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        for level in Level::ALL {
            let has_run = run.split(", ").any(|name| name == level.name());
            let is_named =
                text.as_ref().is_some_and(|text| text.split([' ', ',']).any(|word| word == level.name()));
            assert_ne!(has_run, is_named, "{level}: {line}");
        }
    }

    #[test]
    fn sets_are_found_by_name_and_unknown_names_get_the_list() {
        for isa in Isa::available() {
            assert_eq!(isa.to_string().parse(), Ok(*isa));
        }
        let error = "sse9".parse::<Isa>().unwrap_err().to_string();
        assert!(error.starts_with("expected one of baseline"), "{error}");
    }

    #[test]
    fn a_set_that_the_cpu_lacks_is_refused_with_those_that_it_has() {
        for level in Level::ALL.into_iter().filter(|level| *level > Isa::best().level()) {
            let error = Isa::of_level(level).unwrap_err().to_string();
            assert!(error.starts_with(&format!("this CPU lacks {level}; it has baseline")), "{error}");
        }
    }
}
