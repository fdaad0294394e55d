//! Rules on the size of the file itself.

use super::{Case, Finding, Size};

pub(super) fn budget(case: &Case) -> Finding {
    let max = case.policy.size_max.unwrap_or(Size(u64::MAX));
    let found = case.facts.size_bytes;
    Finding::pass_if(found <= max.0, format!("at most {} bytes ({max})", max.0), format!("{found} bytes"))
}

pub(super) fn growth(case: &Case) -> Finding {
    let percent = u64::from(case.policy.growth_percent_max.unwrap_or(0));
    let found = case.facts.size_bytes;
    let Some(previous) = case.evidence.previous_size_bytes else {
        let hint = "give the size of this file in the previous release";
        return Finding::cannot_tell(
            format!("at most {percent} % more than the previous release"),
            "no previous size",
            hint,
        );
    };
    let allowed = u128::from(previous) * u128::from(100 + percent) / 100;
    let expected = format!("at most {percent} % more than {previous} bytes");
    let change = i128::from(found) - i128::from(previous);
    Finding::pass_if(u128::from(found) <= allowed, expected, format!("{found} bytes ({change:+})"))
}
