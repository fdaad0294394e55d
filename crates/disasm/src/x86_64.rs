//! Instruction-set extensions of x86-64, by the decoder of iced-x86.

use std::sync::LazyLock;

use iced_x86::CpuidFeature::{
    self, AVX, AVX2, AVX512BW, AVX512CD, AVX512DQ, AVX512F, AVX512VL, BMI1, BMI2, CET_IBT, CLDEMOTE, CLFSH,
    CMOV, CMPXCHG16B, CPUID, CX8, F16C, FMA, FPU, FPU287, FPU387, FXSR, HLE, INTEL186, INTEL286, INTEL386,
    INTEL486, INTEL8086, LZCNT, MMX, MOVBE, MULTIBYTENOP, PAUSE, POPCNT, PREFETCHITI, PREFETCHW, PREFETCHWT1,
    SSE, SSE2, SSE3, SSE4_1, SSE4_2, SSSE3, SYSCALL, TSC, X64, XSAVE,
};
use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic};

/// LAHF and SAHF in 64-bit mode, which the decoder counts as part of the 8086. x86-64-v2 has them.
const LAHF_SAHF: usize = 255;

/// A set of features, by the numbers of the decoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Features([u64; 4]);

/// x86-64-v1: what the ABI requires, the older processors, and encodings that an older processor executes as NOP (prefetches,
/// `endbr64`, `cldemote`).
const V1: &[CpuidFeature] = &[
    INTEL8086,
    INTEL186,
    INTEL286,
    INTEL386,
    INTEL486,
    X64,
    FPU,
    FPU287,
    FPU387,
    CMOV,
    CX8,
    CPUID,
    FXSR,
    MMX,
    SSE,
    SSE2,
    SYSCALL,
    TSC,
    CLFSH,
    PAUSE,
    MULTIBYTENOP,
    PREFETCHW,
    PREFETCHWT1,
    PREFETCHITI,
    CLDEMOTE,
    CET_IBT,
    HLE,
];
const V2: &[CpuidFeature] = &[CMPXCHG16B, POPCNT, SSE3, SSSE3, SSE4_1, SSE4_2];
const V3: &[CpuidFeature] = &[AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT, MOVBE, XSAVE];
const V4: &[CpuidFeature] = &[AVX512F, AVX512BW, AVX512CD, AVX512DQ, AVX512VL];

impl Features {
    pub(crate) fn lowest() -> Features {
        Features::default().with(V1)
    }

    /// A level of the psABI, or a feature by the name that rustc uses.
    pub(crate) fn named(name: &str) -> Option<Features> {
        let v1 = Features::lowest();
        let v2 = || {
            let mut v2 = v1.with(V2);
            v2.insert(LAHF_SAHF);
            v2
        };
        Some(match name {
            "x86-64" | "x86-64-v1" => v1,
            "x86-64-v2" => v2(),
            "x86-64-v3" => v2().with(V3),
            "x86-64-v4" => v2().with(V3).with(V4),
            "lahfsahf" => {
                let mut only = Features::default();
                only.insert(LAHF_SAHF);
                only
            }
            _ => {
                let feature =
                    CpuidFeature::values().find(|feature| feature_name(*feature as usize) == name)?;
                Features::default().with(&[feature])
            }
        })
    }

    fn with(mut self, features: &[CpuidFeature]) -> Features {
        features.iter().for_each(|feature| self.insert(*feature as usize));
        self
    }

    pub(crate) fn extend(&mut self, other: &Features) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    fn insert(&mut self, feature: usize) {
        self.0[feature / 64 % 4] |= 1 << (feature % 64);
    }

    fn contains(&self, feature: usize) -> bool {
        self.0[feature / 64 % 4] >> (feature % 64) & 1 != 0
    }

    /// The features of an instruction that the set lacks.
    fn missing(&self, code: Code) -> impl Iterator<Item = usize> {
        required(code).filter(|feature| !self.contains(*feature))
    }
}

/// What an instruction requires.
///
/// - `tzcnt` is `rep bsf`: a processor without BMI1 executes `bsf`, which differs for the operand 0 only. Compilers write it
///   for the baseline where the operand is not 0, so it requires nothing. `lzcnt` is `rep bsr`, with another result for every
///   operand, and requires LZCNT.
/// - `xgetbv` is how a program finds out whether it may use AVX; it follows a test of OSXSAVE.
/// - `rdssp` is a NOP without shadow stacks, and `incssp` is executed only if `rdssp` has changed its register.
fn required(code: Code) -> impl Iterator<Item = usize> {
    let features = match code.mnemonic() {
        Mnemonic::Tzcnt
        | Mnemonic::Xgetbv
        | Mnemonic::Rdsspd
        | Mnemonic::Rdsspq
        | Mnemonic::Incsspd
        | Mnemonic::Incsspq => &[],
        _ => code.cpuid_features(),
    };
    let lahf = matches!(code, Code::Lahf | Code::Sahf).then_some(LAHF_SAHF);
    features.iter().map(|feature| *feature as usize).chain(lahf)
}

/// The name that rustc uses for a target feature, where it has one.
fn feature_name(feature: usize) -> String {
    if feature == LAHF_SAHF {
        return "lahfsahf".into();
    }
    static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let name = |feature: CpuidFeature| match feature {
            SSE4_1 => "sse4.1".into(),
            SSE4_2 => "sse4.2".into(),
            feature => {
                let name = format!("{feature:?}").to_lowercase();
                match name.strip_prefix("amx_") {
                    Some(part) => format!("amx-{}", part.replace('_', "-")),
                    None => name.replace('_', ""),
                }
            }
        };
        CpuidFeature::values().map(name).collect()
    });
    NAMES.get(feature).cloned().unwrap_or_default()
}

/// For each instruction, whether a baseline has all of its features. Computed once, because functions have millions of
/// instructions and the decoder has five thousand.
pub(crate) struct Classifier {
    baseline: Features,
    is_beyond: Vec<bool>,
}

/// The result for one piece of code.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Offset, mnemonic and missing features of the first instruction beyond the baseline.
    pub(crate) first: Option<(u64, String, Vec<String>)>,
    /// Number of instructions beyond the baseline.
    pub(crate) count: usize,
    /// Offset of the first bytes that are no instruction.
    pub(crate) undecodable: Option<u64>,
}

impl Classifier {
    pub(crate) fn new(baseline: Features) -> Classifier {
        let is_beyond = Code::values().map(|code| baseline.missing(code).next().is_some()).collect();
        Classifier { baseline, is_beyond }
    }

    pub(crate) fn scan(&self, code: &[u8]) -> Scanned {
        let mut decoder = Decoder::new(64, code, DecoderOptions::NONE);
        let mut instruction = Instruction::default();
        let mut scanned = Scanned::default();
        while decoder.can_decode() {
            let at = decoder.position();
            decoder.decode_out(&mut instruction);
            let code = instruction.code();
            if code == Code::INVALID {
                scanned.undecodable.get_or_insert(at as u64);
            } else if self.is_beyond.get(code as usize) == Some(&true) {
                scanned.count += 1;
                if scanned.first.is_none() {
                    let names = self.baseline.missing(code).map(feature_name).collect();
                    let mnemonic = format!("{:?}", instruction.mnemonic()).to_lowercase();
                    scanned.first = Some((at as u64, mnemonic, names));
                }
            }
        }
        scanned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(level: &str, code: &[u8]) -> Vec<String> {
        let scanned = Classifier::new(Features::named(level).unwrap()).scan(code);
        assert_eq!(scanned.undecodable, None);
        scanned.first.map(|(_, mnemonic, features)| [vec![mnemonic], features].concat()).unwrap_or_default()
    }

    #[test]
    fn names_the_first_missing_feature_of_each_level() {
        let check = |code: &[u8], expected: &[&str], enough: &str| {
            assert_eq!(missing("x86-64-v1", code), expected);
            assert_eq!(missing(enough, code), [""; 0]);
        };
        check(&[0x0f, 0x58, 0xc0], &[], "x86-64-v1"); // addps
        check(&[0x66, 0x0f, 0x38, 0x00, 0xc1], &["pshufb", "ssse3"], "x86-64-v2");
        check(&[0xf3, 0x0f, 0xb8, 0xc0], &["popcnt", "popcnt"], "x86-64-v2");
        check(&[0x9f], &["lahf", "lahfsahf"], "x86-64-v2");
        check(&[0x48, 0x0f, 0xc7, 0x0f], &["cmpxchg16b", "cmpxchg16b"], "x86-64-v2");
        check(&[0xc5, 0xfc, 0x58, 0xc0], &["vaddps", "avx"], "x86-64-v3");
        check(&[0xc4, 0xe2, 0x7d, 0x98, 0xc0], &["vfmadd132ps", "fma"], "x86-64-v3");
        check(&[0xf3, 0x0f, 0xbd, 0xc0], &["lzcnt", "lzcnt"], "x86-64-v3");
        check(&[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0], &["vaddps", "avx512f"], "x86-64-v4");
        check(&[0x66, 0x0f, 0x38, 0xdc, 0xc1], &["aesenc", "aes"], "aes");
    }

    #[test]
    fn accepts_instructions_that_older_processors_execute_as_another_one() {
        let check = |code: &[u8]| assert_eq!(missing("x86-64-v1", code), [""; 0]);
        check(&[0xf3, 0x0f, 0xbc, 0xc0]); // tzcnt, rep bsf
        check(&[0xf3, 0x0f, 0x1e, 0xfa]); // endbr64
        check(&[0xf3, 0x48, 0x0f, 0x1e, 0xc8]); // rdsspq rax
        check(&[0xf3, 0x90]); // pause
        check(&[0x66, 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0]); // long nop
        check(&[0x0f, 0x0d, 0x08]); // prefetchw
        check(&[0x0f, 0x01, 0xd0]); // xgetbv
    }

    #[test]
    fn counts_instructions_and_reports_bytes_that_do_not_decode() {
        let classifier = Classifier::new(Features::lowest());
        let scanned = classifier.scan(&[0x90, 0xc5, 0xfc, 0x58, 0xc0, 0xc5, 0xfc, 0x58, 0xc0, 0x06, 0xc3]);
        let first = Some((1, "vaddps".into(), vec!["avx".into()]));
        assert_eq!(scanned, Scanned { first, count: 2, undecodable: Some(9) });
    }
}
