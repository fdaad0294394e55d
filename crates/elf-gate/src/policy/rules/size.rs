//! Rules on the size of the file.

use units::ByteSize;

use crate::policy::check_result::CheckResult;
use crate::policy::rule::{RuleInput, rules};

rules! {
    "size-budget" at PROGRAM, enabled by "`size_max`" if |policy| policy.size_max.is_some() => budget {
        detects: "a file above its budget",
        rationale: "size costs download time, start-up time and memory, and grows with each dependency",
        incident: "a release contained all kernels of a library instead of the four selected ones",
        other_tools: "none; bloaty and cargo-bloat show the parts of a file by size",
        fix: "use `cargo bloat --crates` and `bloaty FILE`; or raise the budget in the policy, with a reason",
    }
    "size-growth" at PROGRAM, enabled by "`growth_percent_max`" if |policy| policy.growth_percent_max.is_some() => growth {
        detects: "growth by more than the allowed percentage since the baseline release; `cannot tell` without a baseline",
        rationale: "strong growth indicates a debug build, a second copy of a crate, or embedded data",
        incident: "a release with debug information was three times as large as the earlier one",
        other_tools: "none",
        fix: "compare the sections of both files with `bloaty NEW -- OLD`",
    }
}

fn budget(input: &RuleInput) -> CheckResult {
    let max = input.policy.size_max.unwrap_or(ByteSize(u64::MAX));
    let found = input.facts.size_bytes;
    CheckResult::pass_if(found <= max.0, format!("at most {} bytes ({max})", max.0), format!("{found} bytes"))
}

fn growth(input: &RuleInput) -> CheckResult {
    let percent = u64::from(input.policy.growth_percent_max.unwrap_or(0));
    let found = input.facts.size_bytes;
    let Some(baseline) = input.evidence.baseline_size_bytes else {
        let hint = "pass the earlier file or its manifest with `--baseline`";
        return CheckResult::cannot_tell(
            format!("at most {percent} % more than the baseline"),
            "no baseline",
            hint,
        );
    };
    let allowed = u128::from(baseline) * u128::from(100 + percent) / 100;
    let expected = format!("at most {percent} % more than {baseline} bytes");
    let change = i128::from(found) - i128::from(baseline);
    CheckResult::pass_if(u128::from(found) <= allowed, expected, format!("{found} bytes ({change:+})"))
}
