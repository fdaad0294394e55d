//! Rules on the size of the file itself.

use super::rules::PROGRAM;
use super::{Case, Finding, Rule, Size};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "size-budget",
        stages: PROGRAM,
        demanded_by: "`size_max`",
        catches: "a file above its budget",
        why: "size is download, start-up and memory, and grows by one dependency at a time",
        incident: "a release with all kernels of a library instead of the four that were meant",
        peers: "none; bloaty and cargo-bloat explain where size comes from",
        fix: "`cargo bloat --crates`, `bloaty FILE`; or raise the budget in the policy, with its reason",
        is_demanded: |policy| policy.size_max.is_some(),
        check: budget,
    },
    Rule {
        id: "size-growth",
        stages: PROGRAM,
        demanded_by: "`growth_percent_max`",
        catches: "a file that grew by more than so many percent since the previous release; `cannot tell` without its size",
        why: "a jump is a debug build, a second copy of a crate, or data that were meant to stay outside",
        incident: "a release with debug information in it, three times as large as the one before",
        peers: "none",
        fix: "compare the two files section by section: `bloaty NEW -- OLD`",
        is_demanded: |policy| policy.growth_percent_max.is_some(),
        check: growth,
    },
];

fn budget(case: &Case) -> Finding {
    let max = case.policy.size_max.unwrap_or(Size(u64::MAX));
    let found = case.facts.size_bytes;
    Finding::pass_if(found <= max.0, format!("at most {} bytes ({max})", max.0), format!("{found} bytes"))
}

fn growth(case: &Case) -> Finding {
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
