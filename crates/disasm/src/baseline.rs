//! The instruction set that every machine of a release has: levels such as `x86-64-v2`, and single features.

use std::fmt;

use crate::{aarch64, x86_64};

/// What code may use without a check at run time. Each machine has its own part; a machine without a level has none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baseline {
    pub(crate) x86_64: Option<x86_64::Features>,
    pub(crate) aarch64: Option<aarch64::Features>,
}

/// A name that is neither a level nor a feature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownFeature(
    /// The name.
    pub String,
);

impl fmt::Display for UnknownFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is neither a level (`x86-64-v1` to `x86-64-v4`, `armv8-a`, `armv8.1-a`) nor a feature such as `avx2`, \
             `sse4.1` or `lse`",
            self.0
        )
    }
}

impl std::error::Error for UnknownFeature {}

impl Baseline {
    /// The union of levels and features. A feature alone includes the lowest level of its machine.
    pub fn parse<'n>(names: impl IntoIterator<Item = &'n str>) -> Result<Baseline, UnknownFeature> {
        let mut baseline = Baseline::default();
        for name in names {
            if let Some(features) = x86_64::Features::named(name) {
                baseline.x86_64.get_or_insert_with(x86_64::Features::lowest).extend(&features);
            } else if let Some(features) = aarch64::Features::named(name) {
                baseline.aarch64.get_or_insert_with(aarch64::Features::default).extend(features);
            } else {
                return Err(UnknownFeature(name.into()));
            }
        }
        Ok(baseline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_levels_and_features_and_rejects_other_names() {
        let parse = |names: &[&str]| Baseline::parse(names.iter().copied());
        let x86 = parse(&["x86-64-v2", "avx512vnni"]).unwrap();
        assert!(x86.x86_64.is_some() && x86.aarch64.is_none());
        assert!(parse(&["armv8-a", "sve"]).unwrap().aarch64.is_some());
        assert_ne!(parse(&["x86-64-v3"]), parse(&["x86-64-v2"]));
        assert_eq!(parse(&["sse2"]), parse(&["x86-64"]));
        for wrong in ["x86-64-v5", "AVX2", "avx512_vnni", "", "native"] {
            assert_eq!(parse(&[wrong]).unwrap_err(), UnknownFeature(wrong.into()));
        }
    }
}
