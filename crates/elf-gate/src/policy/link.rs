//! Rules on what a loader has to do before the program runs: where it looks, what it binds, what it writes.

use super::{Case, Finding, GlibcVersion, glob, list};

pub(super) fn no_rpath(case: &Case) -> Finding {
    let dynamic = case.facts.dynamic.as_ref();
    let paths = dynamic
        .into_iter()
        .flat_map(|dynamic| [("DT_RPATH", &dynamic.rpath), ("DT_RUNPATH", &dynamic.runpath)]);
    let entries = paths.filter_map(|(tag, path)| Some((tag, path.as_ref()?)));
    let entries = entries.flat_map(|(tag, path)| path.split(':').map(move |entry| (tag, entry)));
    let allowed = &case.policy.rpaths_allowed;
    let is_allowed =
        |entry: &str| allowed.iter().any(|pattern| glob::matches(pattern.as_bytes(), entry.as_bytes()));
    let wrong = entries.filter(|(_, entry)| !is_allowed(entry));
    let wrong = wrong.map(|(tag, entry)| format!("{tag} `{entry}`")).collect();
    let expected = if allowed.is_empty() { "no run path".into() } else { format!("only {}", list(allowed)) };
    Finding::pass_if_none(wrong, expected)
}

pub(super) fn no_text_relocations(case: &Case) -> Finding {
    let has_any = case.facts.dynamic.as_ref().is_some_and(|dynamic| dynamic.has_text_relocations);
    Finding::pass_if(!has_any, "no DT_TEXTREL", if has_any { "DT_TEXTREL" } else { "none" })
}

pub(super) fn relro(case: &Case) -> Finding {
    let name = |relro: crate::facts::Relro| format!("{relro:?}").to_lowercase();
    let (expected, found) = (case.policy.relro, case.facts.relro);
    let why = match case.facts.dynamic.as_ref().is_some_and(|dynamic| dynamic.has_lazy_bindings) {
        true => ", functions are bound lazily",
        false => "",
    };
    Finding::pass_if(
        found >= expected,
        format!("{} or more", name(expected)),
        format!("{}{why}", name(found)),
    )
}

pub(super) fn needed_allowed(case: &Case) -> Finding {
    let allowed = &case.policy.needed_allowed;
    let needed = case.facts.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.needed);
    let is_allowed =
        |name: &&String| allowed.iter().any(|pattern| glob::matches(pattern.as_bytes(), name.as_bytes()));
    let wrong = needed.iter().filter(|name| !is_allowed(name)).cloned().collect();
    Finding::pass_if_none(wrong, format!("no DT_NEEDED but {}", list(allowed)))
}

pub(super) fn glibc_version(case: &Case) -> Finding {
    let Some(max) = &case.policy.glibc_max else { return Finding::pass_if(true, "any", "any") };
    let expected = format!("no symbol version above GLIBC_{max}");
    if case.facts.sections.is_empty() && case.facts.dynamic.is_some() {
        return Finding::cannot_tell(
            expected,
            "no section headers",
            "keep the section headers: do not use `sstrip`",
        );
    }
    let versions = case.facts.needed_versions.iter().map(|needed| &needed.version);
    let newer =
        versions.filter(|name| GlibcVersion::of_symbol_version(name).is_some_and(|version| version > *max));
    let mut newer: Vec<String> = newer.cloned().collect();
    newer.dedup();
    Finding::pass_if_none(newer, expected)
}
