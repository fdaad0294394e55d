//! Rules on the size of the file.

use elf_facts::size::{self, SizeBreakdown};
use units::ByteSize;

use crate::policy::check_result::CheckResult;
use crate::policy::rule::{RuleInput, rules};

rules! {
    "size-budget" at PROGRAM, enabled by "`size_max`" if |policy| policy.size_max.is_some() => budget {
        detects: "a file above its budget",
        rationale: "size costs download time, start-up time and memory, and grows with each dependency",
        incident: "a release contained all kernels of a library instead of the four selected ones",
        other_tools: "none; bloaty and cargo-bloat show the parts of a file by size",
        fix: "list the parts with `elf-gate size FILE`; or raise the budget in the policy, with a reason",
    }
    "size-growth" at PROGRAM, enabled by "`growth_percent_max`; the baseline is the one of the command line, else `baseline_size`" if |policy| policy.growth_percent_max.is_some() => growth {
        detects: "growth by more than the allowed percentage since the baseline release; `cannot tell` without a baseline",
        rationale: "strong growth indicates a debug build, a second copy of a crate, or embedded data",
        incident: "a release with debug information was three times as large as the earlier one",
        other_tools: "none",
        fix: "list what grew with `elf-gate size NEW --baseline OLD`, of the linked files or with their debug files",
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
    let of_policy = input.policy.baseline_size.map(|size| size.0);
    let Some(baseline) = input.evidence.baseline_size_bytes.or(of_policy) else {
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
    let holds = u128::from(found) <= allowed;
    let grown = if holds { String::new() } else { largest_growth(input) };
    CheckResult::pass_if(holds, expected, format!("{found} bytes ({change:+}){grown}"))
}

/// The crate and the section that grew most, as far as the baseline and the symbols show them. Read for a violation only.
fn largest_growth(input: &RuleInput) -> String {
    let evidence = input.evidence;
    let (Some(old), Some(bytes)) = (evidence.baseline_breakdown, evidence.own_bytes) else {
        return String::new();
    };
    let Ok(new) = SizeBreakdown::of(bytes, evidence.debug_file_bytes, false) else { return String::new() };
    let parts = [("crate", &old.crates, &new.crates), ("section", &old.sections, &new.sections)];
    let grown = parts.into_iter().filter(|(_, old, new)| !old.is_empty() && !new.is_empty());
    let grown = grown.filter_map(|(what, old, new)| {
        let (name, bytes) = size::largest_growth(old, new)?;
        Some(format!("{what} {name} +{bytes} bytes"))
    });
    let grown: Vec<String> = grown.collect();
    if grown.is_empty() { String::new() } else { format!("; largest growth: {}", grown.join(", ")) }
}
