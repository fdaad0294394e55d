//! Rules on protections that compilers add. Names are all that is left of them in a file, so where names are gone the
//! verdict is "cannot tell".

use super::rules::BEFORE_PACKING;
use super::{Case, Finding, Rule, list};
use crate::facts::Protection;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "stack-protector",
        stages: BEFORE_PACKING,
        demanded_by: "`needs_stack_protector`",
        catches: "code without any reference to `__stack_chk_fail`",
        why: "a canary turns a smashed stack into an abort. In a linked file one C library with canaries is enough for the name to be there, so judge objects and archives one by one; without names the verdict is `cannot tell`",
        incident: "a static C library without canaries inside of a program whose other parts had them, reported as protected (checksec.rs#49)",
        peers: "checksec looks at the names of the whole file, BinSkim (BA3003) at flags in the debug information; LIEF does not judge",
        fix: "compile C and C++ with `-fstack-protector-strong`",
        is_demanded: |policy| policy.needs_stack_protector,
        check: stack_protector,
    },
    Rule {
        id: "fortify",
        stages: BEFORE_PACKING,
        demanded_by: "`needs_fortify`",
        catches: "calls of `memcpy`, `sprintf` and the like, and not one of their checked twins",
        why: "`_FORTIFY_SOURCE` lets glibc check sizes that the compiler knows. musl has no such twins: do not demand it there",
        incident: "a package whose CFLAGS replaced those of the distribution, and with them `-D_FORTIFY_SOURCE`",
        peers: "checksec counts twins by comparing with the libc of the machine that it runs on; BinSkim has BA3030",
        fix: "compile with `-O2 -D_FORTIFY_SOURCE=3`",
        is_demanded: |policy| policy.needs_fortify,
        check: fortify,
    },
    Rule {
        id: "required-notes",
        stages: BEFORE_PACKING,
        demanded_by: "`required_notes`: `build-id`, `ibt`, `shstk`, `bti`, `pac` or `OWNER/TYPE`",
        catches: "a missing note or processor feature",
        why: "the linker drops IBT, SHSTK, BTI and PAC from the whole file when one object lacks them",
        incident: "one assembly file without `endbr64` and its note switched the protection off for the whole program, without a word of the linker",
        peers: "LIEF and `readelf -n` show them; newer versions of checksec show them too; none fails",
        fix: "compile with `-fcf-protection=full` or `-mbranch-protection=standard`; `-Wl,-z,cet-report=error` or `-Wl,-z,bti-report=error` names the object",
        is_demanded: |policy| !policy.required_notes.is_empty(),
        check: required_notes,
    },
];

const STRIPPED_HINT: &str = "judge the linked file, or better its objects and archives: only there it shows which of them \
                             were built without";

fn stack_protector(case: &Case) -> Finding {
    protection(&case.facts.hardening.stack_canary, "a reference to `__stack_chk_fail`")
}

fn fortify(case: &Case) -> Finding {
    let hardening = &case.facts.hardening;
    let expected = "checked twins such as `__memcpy_chk`";
    // Nothing that could be checked is called.
    if hardening.fortify == Protection::NotSeen && hardening.unchecked.is_empty() {
        return Finding::pass_if(true, expected, "no call that could be checked");
    }
    let mut finding = protection(&hardening.fortify, expected);
    if hardening.fortify == Protection::NotSeen {
        finding.found = format!("unchecked: {}", list(&hardening.unchecked));
    }
    finding
}

fn protection(seen: &Protection, expected: &str) -> Finding {
    match seen {
        Protection::Seen(names) => Finding::pass_if(true, expected, list(names)),
        Protection::NoCode => Finding::pass_if(true, expected, "no code"),
        Protection::NotSeen => Finding::pass_if(false, expected, "none"),
        Protection::CannotTell => Finding::cannot_tell(expected, "the names are stripped", STRIPPED_HINT),
    }
}

/// `build-id`, names of processor features, or `OWNER/TYPE`.
fn required_notes(case: &Case) -> Finding {
    let facts = case.facts;
    let has = |wanted: &str| match wanted {
        "build-id" => facts.build_id.is_some(),
        "ibt" => facts.features.ibt,
        "shstk" => facts.features.shstk,
        "bti" => facts.features.bti,
        "pac" => facts.features.pac,
        other => facts.notes.iter().any(|note| format!("{}/{}", note.owner, note.kind_number) == other),
    };
    let wanted = &case.policy.required_notes;
    let missing: Vec<String> = wanted.iter().filter(|name| !has(name)).cloned().collect();
    let found = if missing.is_empty() { "all there".into() } else { format!("missing: {}", list(&missing)) };
    let holds = missing.is_empty();
    Finding { items: missing, ..Finding::pass_if(holds, list(wanted), found) }
}
