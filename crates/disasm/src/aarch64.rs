//! Instruction-set extensions of aarch64 that compilers enable with `-march`: LSE atomics and SVE, by their encoding. Other
//! extensions are not recognized.

use crate::x86_64::Scanned;

/// The extensions that are recognized.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Features {
    lse: bool,
    sve: bool,
}

impl Features {
    /// A level of the architecture, or a feature by the name that rustc uses.
    pub(crate) fn named(name: &str) -> Option<Features> {
        Some(match name {
            "armv8-a" => Features::default(),
            "armv8.1-a" | "lse" => Features { lse: true, sve: false },
            "sve" => Features { lse: false, sve: true },
            _ => return None,
        })
    }

    pub(crate) fn extend(&mut self, other: Features) {
        self.lse |= other.lse;
        self.sve |= other.sve;
    }

    /// Code from `offset` in its function, which must be a multiple of 4 for instructions.
    pub(crate) fn scan(self, code: &[u8]) -> Scanned {
        let mut scanned = Scanned::default();
        for (index, word) in code.as_chunks::<4>().0.iter().enumerate() {
            let Some((mnemonic, feature)) = self.beyond(u32::from_le_bytes(*word)) else { continue };
            scanned.count += 1;
            if scanned.first.is_none() {
                scanned.first = Some((4 * index as u64, mnemonic.into(), vec![feature.into()]));
            }
        }
        scanned
    }

    fn beyond(self, word: u32) -> Option<(&'static str, &'static str)> {
        // op0 = 0b0010: the whole group is SVE.
        if !self.sve && word & 0x1e00_0000 == 0x0400_0000 {
            return Some(("sve instruction", "sve"));
        }
        if self.lse {
            return None;
        }
        // CAS and CASP with all sizes and orderings; LDADD, LDCLR, LDSET, SWP and the others of "atomic memory operations",
        // where o3 = 1 with opc = 0b100 is LDAPR.
        if word & 0x3fa0_7c00 == 0x08a0_7c00 {
            return Some(("cas", "lse"));
        }
        if word & 0xbfa0_7c00 == 0x0820_7c00 {
            return Some(("casp", "lse"));
        }
        let is_atomic = word & 0x3f20_0c00 == 0x3820_0000;
        let is_load_or_swap = word & 0x8000 == 0 || word & 0x7000 == 0;
        (is_atomic && is_load_or_swap).then_some(("atomic memory operation", "lse"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing(level: &str, word: u32) -> Option<String> {
        let scanned = Features::named(level).unwrap().scan(&word.to_le_bytes());
        scanned.first.map(|(_, _, features)| features.concat())
    }

    #[test]
    fn recognizes_lse_and_sve_by_encoding() {
        let check = |word: u32, feature: &str| {
            assert_eq!(missing("armv8-a", word).as_deref(), Some(feature), "{word:#x}");
            assert_eq!(missing(feature, word), None, "{word:#x}");
        };
        check(0xc8a0_7c41, "lse"); // cas x0, x1, [x2]
        check(0x88e0_fc41, "lse"); // casal w0, w1, [x2]
        check(0x4820_7c82, "lse"); // casp x0, x1, x2, x3, [x4]
        check(0xb820_0041, "lse"); // ldadd w0, w1, [x2]
        check(0xf8e0_8041, "lse"); // swpal x0, x1, [x2]
        check(0x0420_0000, "sve");
        check(0x2518_e3e0, "sve"); // ptrue p0.b
        for plain in
            [0xd503_201f, 0xd65f_03c0, 0x885f_7c20, 0xc89f_fc20, 0xf940_0020, 0xb8bf_c020, 0x3da0_0020]
        {
            // nop, ret, ldxr, stlr, ldr, ldapr, str q0
            assert_eq!(missing("armv8-a", plain), None, "{plain:#x}");
        }
    }
}
