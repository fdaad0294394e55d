//! What an illegal instruction needs: the CPU feature, from the encoding of the instruction.
//!
//! A table of all instructions would be larger than the crash report. The encodings of each extension are in few places of
//! the opcode map, so the prefix, the map and a range of opcodes tell the feature.

/// Why the CPU rejected the instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// `ud2`: the program ended itself where the compiler allows no way on.
    Trap,
    /// A feature, and whether this CPU and its kernel have it.
    Needs { feature: &'static str, is_present: bool },
}

/// Reads the instruction at the start of `bytes`. `None` when it belongs to no known extension.
pub fn cause(bytes: &[u8]) -> Option<Cause> {
    let feature = match encoding(bytes)? {
        Encoding::Legacy { map: Map::M0F, opcode: 0x0b, .. } => return Some(Cause::Trap),
        Encoding::Legacy { map, opcode, prefix, next } => legacy(map, opcode, prefix, next)?,
        Encoding::Vex { map, opcode, prefix, is_wide } => vex(map, opcode, prefix, is_wide),
        Encoding::Evex { map, opcode, prefix } => evex(map, opcode, prefix),
        Encoding::Xop => "XOP",
    };
    Some(Cause::Needs { feature, is_present: is_present(feature) })
}

/// The mandatory prefix: none, 66, F3 or F2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefix {
    None,
    P66,
    F3,
    F2,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Map {
    M0F,
    M0F38,
    M0F3A,
}

enum Encoding {
    Legacy { map: Map, opcode: u8, prefix: Prefix, next: u8 },
    Vex { map: u8, opcode: u8, prefix: Prefix, is_wide: bool },
    Evex { map: u8, opcode: u8, prefix: Prefix },
    Xop,
}

fn encoding(bytes: &[u8]) -> Option<Encoding> {
    let mut prefix = Prefix::None;
    let mut rest = bytes;
    loop {
        let (first, after) = rest.split_first()?;
        match first {
            0x66 => prefix = if prefix == Prefix::None { Prefix::P66 } else { prefix },
            0xf3 => prefix = Prefix::F3,
            0xf2 => prefix = Prefix::F2,
            0x26 | 0x2e | 0x36 | 0x3e | 0x64 | 0x65 | 0x67 | 0xf0 | 0x40..=0x4f => {}
            _ => break,
        }
        rest = after;
    }
    let of_bits = |bits: u8| [Prefix::None, Prefix::P66, Prefix::F3, Prefix::F2][usize::from(bits & 3)];
    let at = |index: usize| rest.get(index).copied();
    Some(match at(0)? {
        0xc5 => Encoding::Vex { map: 1, opcode: at(2)?, prefix: of_bits(at(1)?), is_wide: at(1)? & 4 != 0 },
        0xc4 => Encoding::Vex {
            map: at(1)? & 0x1f,
            opcode: at(3)?,
            prefix: of_bits(at(2)?),
            is_wide: at(2)? & 4 != 0,
        },
        0x62 => Encoding::Evex { map: at(1)? & 7, opcode: at(4)?, prefix: of_bits(at(2)?) },
        // With a smaller map it is `pop`.
        0x8f if at(1)? & 0x1f >= 8 => Encoding::Xop,
        0x0f => match at(1)? {
            0x38 => Encoding::Legacy { map: Map::M0F38, opcode: at(2)?, prefix, next: at(3).unwrap_or(0) },
            0x3a => Encoding::Legacy { map: Map::M0F3A, opcode: at(2)?, prefix, next: at(3).unwrap_or(0) },
            opcode => Encoding::Legacy { map: Map::M0F, opcode, prefix, next: at(2).unwrap_or(0) },
        },
        _ => return None,
    })
}

fn legacy(map: Map, opcode: u8, prefix: Prefix, next: u8) -> Option<&'static str> {
    Some(match (map, opcode, prefix) {
        (Map::M0F, 0x12, Prefix::F2 | Prefix::F3)
        | (Map::M0F, 0x16, Prefix::F3)
        | (Map::M0F, 0x7c | 0x7d | 0xd0, Prefix::P66 | Prefix::F2)
        | (Map::M0F, 0xf0, Prefix::F2) => "SSE3",
        (Map::M0F, 0xb8, Prefix::F3) => "POPCNT",
        (Map::M0F, 0xbd, Prefix::F3) => "LZCNT",
        (Map::M0F, 0xbc, Prefix::F3) => "BMI1",
        (Map::M0F, 0xc7, _) if next >> 3 & 7 == 6 => "RDRAND",
        (Map::M0F, 0xc7, _) if next >> 3 & 7 == 7 => "RDSEED",
        (Map::M0F38, 0x00..=0x0b | 0x1c..=0x1e, _) => "SSSE3",
        (Map::M0F38, 0x37, _) | (Map::M0F38, 0xf0 | 0xf1, Prefix::F2) | (Map::M0F3A, 0x60..=0x63, _) => {
            "SSE4.2"
        }
        (Map::M0F38, 0xf0 | 0xf1, _) => "MOVBE",
        (Map::M0F38, 0xdb..=0xdf, _) | (Map::M0F3A, 0xdf, _) => "AES",
        (Map::M0F38, 0xc8..=0xcd, _) | (Map::M0F3A, 0xcc, _) => "SHA",
        (Map::M0F38, 0xf6, _) => "ADX",
        (Map::M0F38, 0x10..=0x41, _) => "SSE4.1",
        (Map::M0F3A, 0x0f, _) => "SSSE3",
        (Map::M0F3A, 0x44, _) => "PCLMULQDQ",
        (Map::M0F3A, 0x08..=0x42, _) => "SSE4.1",
        _ => return None,
    })
}

fn vex(map: u8, opcode: u8, prefix: Prefix, is_wide: bool) -> &'static str {
    match (map, opcode, prefix) {
        (2, 0x96..=0x9f | 0xa6..=0xaf | 0xb6..=0xbf, _) => "FMA",
        (2, 0x13, _) | (3, 0x1d, _) => "F16C",
        (2, 0x49 | 0x4b | 0x5c | 0x5e | 0x6c, _) => "AMX",
        (2, 0x50..=0x53, _) => "AVX-VNNI",
        (2, 0xf2 | 0xf3, _) | (2, 0xf7, Prefix::None) => "BMI1",
        (2, 0xf5..=0xf7, _) | (3, 0xf0, _) => "BMI2",
        (2, 0x16 | 0x36 | 0x45..=0x47 | 0x58..=0x5a | 0x78 | 0x79 | 0x8c | 0x8e | 0x90..=0x93, _) => "AVX2",
        (3, 0x00..=0x02 | 0x38 | 0x39 | 0x46, _) => "AVX2",
        (3, 0x44, _) if is_wide => "VPCLMULQDQ",
        // Integer operations have 256 bits since AVX2, those of floating point since AVX.
        (
            1,
            0x60..=0x6d | 0x70..=0x76 | 0xd1..=0xd5 | 0xd8..=0xe5 | 0xe8..=0xef | 0xf1..=0xfe,
            Prefix::P66,
        ) if is_wide => "AVX2",
        (2, 0x00..=0x0b | 0x1c..=0x25 | 0x28..=0x2b | 0x30..=0x35 | 0x37..=0x40, _) if is_wide => "AVX2",
        _ => "AVX",
    }
}

fn evex(map: u8, opcode: u8, prefix: Prefix) -> &'static str {
    match (map, opcode, prefix) {
        (5 | 6, ..) => "AVX512-FP16",
        (2, 0x52 | 0x72, Prefix::F3) | (2, 0x72, Prefix::F2) => "AVX512-BF16",
        (2, 0x50..=0x53, Prefix::P66) => "AVX512-VNNI",
        (2, 0xb4 | 0xb5, _) => "AVX512-IFMA",
        (2, 0x75 | 0x7d | 0x83 | 0x8d, _) => "AVX512-VBMI",
        (2, 0x62 | 0x63 | 0x70..=0x73, _) | (3, 0x70..=0x73, _) => "AVX512-VBMI2",
        (2, 0x54 | 0x8f, _) => "AVX512-BITALG",
        (2, 0x55, _) => "AVX512-VPOPCNTDQ",
        // F, BW, DQ, VL and CD came together in server CPUs.
        _ => "AVX-512",
    }
}

/// Whether the CPU has the feature and the kernel saves its registers.
fn is_present(feature: &str) -> bool {
    match feature {
        "SSE3" => is_x86_feature_detected!("sse3"),
        "SSSE3" => is_x86_feature_detected!("ssse3"),
        "SSE4.1" => is_x86_feature_detected!("sse4.1"),
        "SSE4.2" => is_x86_feature_detected!("sse4.2"),
        "POPCNT" => is_x86_feature_detected!("popcnt"),
        "LZCNT" => is_x86_feature_detected!("lzcnt"),
        "BMI1" => is_x86_feature_detected!("bmi1"),
        "BMI2" => is_x86_feature_detected!("bmi2"),
        "MOVBE" => is_x86_feature_detected!("movbe"),
        "RDRAND" => is_x86_feature_detected!("rdrand"),
        "RDSEED" => is_x86_feature_detected!("rdseed"),
        "AES" => is_x86_feature_detected!("aes"),
        "SHA" => is_x86_feature_detected!("sha"),
        "ADX" => is_x86_feature_detected!("adx"),
        "PCLMULQDQ" => is_x86_feature_detected!("pclmulqdq"),
        "AVX" => is_x86_feature_detected!("avx"),
        "AVX2" => is_x86_feature_detected!("avx2"),
        "FMA" => is_x86_feature_detected!("fma"),
        "F16C" => is_x86_feature_detected!("f16c"),
        "AVX-VNNI" => is_x86_feature_detected!("avxvnni"),
        "VPCLMULQDQ" => is_x86_feature_detected!("vpclmulqdq"),
        "AVX-512" => {
            is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512cd")
        }
        "AVX512-FP16" => is_x86_feature_detected!("avx512fp16"),
        "AVX512-BF16" => is_x86_feature_detected!("avx512bf16"),
        "AVX512-VNNI" => is_x86_feature_detected!("avx512vnni"),
        "AVX512-IFMA" => is_x86_feature_detected!("avx512ifma"),
        "AVX512-VBMI" => is_x86_feature_detected!("avx512vbmi"),
        "AVX512-VBMI2" => is_x86_feature_detected!("avx512vbmi2"),
        "AVX512-BITALG" => is_x86_feature_detected!("avx512bitalg"),
        "AVX512-VPOPCNTDQ" => is_x86_feature_detected!("avx512vpopcntdq"),
        // No processor since 2017 has XOP; std does not detect AMX.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feature(bytes: &[u8]) -> &'static str {
        match cause(bytes) {
            Some(Cause::Needs { feature, .. }) => feature,
            Some(Cause::Trap) => "trap",
            None => "unknown",
        }
    }

    /// The bytes are those that the GNU assembler writes for the instruction in the comment.
    #[test]
    fn names_the_feature_of_an_instruction() {
        let cases: [(&[u8], &str); 23] = [
            (&[0x0f, 0x0b], "trap"),                                // ud2
            (&[0xf2, 0x41, 0x0f, 0x12, 0x00], "SSE3"),              // movddup xmm0, [r8]
            (&[0xf2, 0x0f, 0x7c, 0xc0], "SSE3"),                    // haddps xmm0, xmm0
            (&[0xf2, 0x0f, 0x10, 0x00], "unknown"),                 // movsd xmm0, [rax]
            (&[0xc5, 0xfc, 0x58, 0xc0], "AVX"),                     // vaddps ymm0, ymm0, ymm0
            (&[0xc5, 0xfd, 0xfe, 0xc0], "AVX2"),                    // vpaddd ymm0, ymm0, ymm0
            (&[0xc5, 0xf9, 0xfe, 0xc0], "AVX"),                     // vpaddd xmm0, xmm0, xmm0
            (&[0xc4, 0xe2, 0x7d, 0xb8, 0xc0], "FMA"),               // vfmadd231ps ymm0, ymm0, ymm0
            (&[0xc4, 0xe2, 0x7d, 0x58, 0xc0], "AVX2"),              // vpbroadcastd ymm0, xmm0
            (&[0xc4, 0xe2, 0x7d, 0x13, 0xc0], "F16C"),              // vcvtph2ps ymm0, xmm0
            (&[0xc4, 0xe2, 0x78, 0xf7, 0xc0], "BMI1"),              // bextr eax, eax, eax
            (&[0xc4, 0xe2, 0x7b, 0xf7, 0xc0], "BMI2"),              // shrx eax, eax, eax
            (&[0xc4, 0xe2, 0x78, 0x49, 0xc0], "AMX"),               // tilerelease
            (&[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0], "AVX-512"),     // vaddps zmm0, zmm0, zmm0
            (&[0x62, 0xf2, 0x7d, 0x48, 0x50, 0xc0], "AVX512-VNNI"), // vpdpbusd zmm0, zmm0, zmm0
            (&[0x62, 0xf2, 0x7e, 0x48, 0x52, 0xc0], "AVX512-BF16"), // vdpbf16ps zmm0, zmm0, zmm0
            (&[0x62, 0xf5, 0x7c, 0x48, 0x58, 0xc0], "AVX512-FP16"), // vaddph zmm0, zmm0, zmm0
            (&[0xf3, 0x48, 0x0f, 0xb8, 0xc0], "POPCNT"),            // popcnt rax, rax
            (&[0x66, 0x0f, 0x38, 0x00, 0xc0], "SSSE3"),             // pshufb xmm0, xmm0
            (&[0x66, 0x0f, 0x3a, 0x0e, 0xc0, 0x01], "SSE4.1"),      // pblendw xmm0, xmm0, 1
            (&[0x8f, 0xe9, 0x78, 0x80, 0xc0], "XOP"),               // vfrczps xmm0, xmm0
            (&[0x8f, 0xc0], "unknown"),                             // pop rax
            (&[0xc4, 0xe2], "unknown"),                             // cut
        ];
        for (bytes, expected) in cases {
            assert_eq!(feature(bytes), expected, "{bytes:02x?}");
        }
    }

    #[test]
    fn every_feature_of_this_machine_is_present() {
        for (bytes, is_detected) in [
            (&[0xc5, 0xfd, 0xfe, 0xc0][..], is_x86_feature_detected!("avx2")),
            (&[0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc0][..], is_x86_feature_detected!("avx512bw")),
        ] {
            assert!(
                matches!(cause(bytes), Some(Cause::Needs { is_present, .. }) if is_present == is_detected)
            );
        }
    }
}
