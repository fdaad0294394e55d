//! Rules on protections that compilers add. Names are all that is left of them in a file, so where names are gone the
//! verdict is "cannot tell".

use super::{Case, Finding, list};
use crate::facts::Protection;

const STRIPPED_HINT: &str = "judge the linked file, or better its objects and archives: only there it shows which of them \
                             were built without";

pub(super) fn stack_protector(case: &Case) -> Finding {
    protection(&case.facts.hardening.stack_canary, "a reference to `__stack_chk_fail`")
}

pub(super) fn fortify(case: &Case) -> Finding {
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
pub(super) fn required_notes(case: &Case) -> Finding {
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
