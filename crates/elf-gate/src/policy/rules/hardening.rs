//! Rules on compiler protections. Only symbol names show them, so the verdict without names is "cannot tell".

use elf_facts::facts::Protection;

use crate::policy::check_result::{CheckResult, list};
use crate::policy::rule::{RuleInput, rules};

rules! {
    "stack-protector" at BEFORE_PACKING, enabled by "`needs_stack_protector`" if |policy| policy.needs_stack_protector => stack_protector {
        detects: "code without any reference to `__stack_chk_fail`",
        rationale: "a canary turns a stack overflow into an abort; one C library with canaries puts the name into a linked file, so judge objects and archives one by one; without names the verdict is `cannot tell`",
        incident: "a program was reported as protected although its static C library had no canaries (checksec.rs#49)",
        other_tools: "checksec uses the names of the whole file, BinSkim (BA3003) the flags in the debug information; LIEF has no such rule",
        fix: "compile C and C++ with `-fstack-protector-strong`",
    }
    "fortify" at BEFORE_PACKING, enabled by "`needs_fortify`" if |policy| policy.needs_fortify => fortify {
        detects: "calls of functions such as `memcpy` and `sprintf` without any checked variant",
        rationale: "with `_FORTIFY_SOURCE` glibc checks sizes that the compiler determines; musl has no checked variants, so do not enable the rule there",
        incident: "the CFLAGS of a package replaced those of the distribution, including `-D_FORTIFY_SOURCE`",
        other_tools: "checksec counts variants by comparison with the libc of its own machine; BinSkim has BA3030",
        fix: "compile with `-O2 -D_FORTIFY_SOURCE=3`",
    }
    "required-notes" at BEFORE_PACKING, enabled by "`required_notes`: `build-id`, `ibt`, `shstk`, `bti`, `pac` or `OWNER/TYPE`" if |policy| !policy.required_notes.is_empty() => required_notes {
        detects: "a missing note or processor feature",
        rationale: "the linker removes IBT, SHSTK, BTI and PAC from the whole file when one object lacks them",
        incident: "one assembly file without `endbr64` and its note disabled the protection of the whole program, without a linker warning",
        other_tools: "LIEF, `readelf -n` and newer versions of checksec show them; none fails",
        fix: "compile with `-fcf-protection=full` or `-mbranch-protection=standard`; `-Wl,-z,cet-report=error` or `-Wl,-z,bti-report=error` names the object",
    }
}

const STRIPPED_HINT: &str = "judge the linked file, or its objects and archives, which show the objects without the \
                             protection";

fn stack_protector(input: &RuleInput) -> CheckResult {
    protection(&input.facts.hardening.stack_canary, "a reference to `__stack_chk_fail`")
}

fn fortify(input: &RuleInput) -> CheckResult {
    let hardening = &input.facts.hardening;
    let expected = "checked variants such as `__memcpy_chk`";
    if hardening.fortify == Protection::Absent && hardening.unchecked.is_empty() {
        return CheckResult::pass_if(true, expected, "no call with a checked variant");
    }
    let mut result = protection(&hardening.fortify, expected);
    if hardening.fortify == Protection::Absent {
        result.found = format!("unchecked: {}", list(&hardening.unchecked));
    }
    result
}

fn protection(protection: &Protection, expected: &str) -> CheckResult {
    match protection {
        Protection::Present(names) => CheckResult::pass_if(true, expected, list(names)),
        Protection::NoCode => CheckResult::pass_if(true, expected, "no code"),
        Protection::Absent => CheckResult::pass_if(false, expected, "none"),
        Protection::Unknown => CheckResult::cannot_tell(expected, "no symbol names", STRIPPED_HINT),
    }
}

/// Accepts `build-id`, names of processor features, and `OWNER/TYPE`.
fn required_notes(input: &RuleInput) -> CheckResult {
    let facts = input.facts;
    let has = |note: &str| match note {
        "build-id" => facts.build_id.is_some(),
        "ibt" => facts.features.ibt,
        "shstk" => facts.features.shstk,
        "bti" => facts.features.bti,
        "pac" => facts.features.pac,
        other => facts.notes.iter().any(|note| format!("{}/{}", note.owner, note.kind_number) == other),
    };
    let required = &input.policy.required_notes;
    let missing: Vec<String> = required.iter().filter(|name| !has(name)).cloned().collect();
    let found =
        if missing.is_empty() { "all present".into() } else { format!("missing: {}", list(&missing)) };
    let holds = missing.is_empty();
    CheckResult { items: missing, ..CheckResult::pass_if(holds, list(required), found) }
}
