//! Rules on the data that `strip` must remove and must keep.

use crate::policy::check_result::{CheckResult, list};
use crate::policy::rule::{RuleInput, rules};

rules! {
    "build-id" at IDENTIFIED, enabled by "`needs_build_id`" if |policy| policy.needs_build_id => build_id {
        detects: "a file without a GNU build-id",
        rationale: "without it a crash report cannot be matched with its debug file",
        incident: "a core file from production could belong to any of five debug files",
        other_tools: "`readelf -n` and LIEF show it; none fails",
        fix: "link with `-Wl,--build-id=sha1`",
    }
    "has-symbols" at LINKED, enabled by "`needs_symbols`" if |policy| policy.needs_symbols => has_symbols {
        detects: "a linked file without a .symtab",
        rationale: "the rules on symbols cannot tell without it, and no debug file can be split off",
        incident: "a profile with `strip = true` stripped the program before the gate saw it, so no required symbol could be checked",
        other_tools: "none; `nm` prints `no symbols`",
        fix: "set `strip = \"none\"` in the profile, or `CARGO_PROFILE_RELEASE_STRIP=none`, and remove `-s` from the link line; strip after the gate",
    }
    "not-packed" at UNPACKED, enabled by "every policy" if |_| true => not_packed {
        detects: "a packed file judged as an unpacked one; `cannot tell` without section headers",
        rationale: "the outer headers of a packed file have no effect at run time; the inner ones have",
        incident: "`readelf` showed the required stack size of a packed program whose threads got 128 KiB",
        other_tools: "checksec and BinSkim judge the outer headers; LIEF shows them",
        fix: "judge it with `--stage packed`",
    }
    "stripped" at STRIPPED, enabled by "`stripped`" if |policy| policy.stripped => stripped {
        detects: "remaining .symtab or .debug_* sections",
        rationale: "they double the size of the release, and disclose names and paths of the build machine",
        incident: "a container image contained 300 MB of debug information",
        other_tools: "checksec shows it (`Symbols`); auditwheel can strip; none fails",
        fix: "`objcopy --only-keep-debug FILE FILE.debug`, then `strip FILE`",
    }
}

fn build_id(input: &RuleInput) -> CheckResult {
    let found = input.facts.build_id.as_deref();
    CheckResult::pass_if(found.is_some(), "a GNU build-id", found.unwrap_or("none"))
}

fn has_symbols(input: &RuleInput) -> CheckResult {
    let count = input.facts.symbols.as_ref().map_or(0, |table| table.entry_count);
    CheckResult::pass_if(
        count > 0,
        "a .symtab",
        if count > 0 { format!("{count} symbols") } else { "none".into() },
    )
}

fn not_packed(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "no packer";
    if input.facts.upx.is_some() {
        return CheckResult::pass_if(false, EXPECTED, "packed by UPX");
    }
    if input.facts.sections.is_empty() {
        return CheckResult::cannot_tell(
            EXPECTED,
            "no section headers",
            "keep the section headers (do not use `sstrip`): a packed file without its magic numbers looks the same",
        );
    }
    CheckResult::pass_if(true, EXPECTED, "none")
}

fn stripped(input: &RuleInput) -> CheckResult {
    const SHT_SYMTAB: u32 = 2;
    let left = input.facts.sections.iter().filter(|section| {
        let name = section.name.as_str();
        section.kind_number == SHT_SYMTAB || name.starts_with(".debug_") || name.starts_with(".zdebug_")
    });
    let names: Vec<&str> = left.map(|section| section.name.as_str()).collect();
    CheckResult::pass_if(names.is_empty(), "no .symtab, no .debug_*", list(&names))
}
