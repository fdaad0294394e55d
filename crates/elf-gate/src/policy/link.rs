//! Rules on what a loader has to do before the program runs: where it looks, what it binds, what it writes.

use super::rules::UNPACKED;
use super::{Case, Finding, GlibcVersion, Rule, glob, list};
use crate::facts::Relro;

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "needed-allowed",
        stages: UNPACKED,
        demanded_by: "`needed_allowed`",
        catches: "a DT_NEEDED that is not on the list",
        why: "each library is a promise about the machine of the user",
        incident: "a program that began to need `libgomp.so.1` because one dependency was compiled with `-fopenmp`",
        peers: "auditwheel has such a list for each manylinux platform; the others show the names",
        fix: "drop the dependency, link it statically, or add it to the list",
        is_demanded: |policy| !policy.needed_allowed.is_empty(),
        check: needed_allowed,
    },
    Rule {
        id: "glibc-version",
        stages: UNPACKED,
        demanded_by: "`glibc_max`",
        catches: "a symbol version of glibc above the allowed one",
        why: "the program does not start on a system with an older glibc",
        incident: "version `GLIBC_2.34' not found, after the build machine was updated",
        peers: "auditwheel judges it through its platform policies; the others show versions at most",
        fix: "build on a system with that glibc, or with `zig cc -target x86_64-linux-gnu.2.31`",
        is_demanded: |policy| policy.glibc_max.is_some(),
        check: glibc_version,
    },
    Rule {
        id: "no-rpath",
        stages: UNPACKED,
        demanded_by: "`no_rpath`, less `rpaths_allowed`",
        catches: "an entry of DT_RPATH or DT_RUNPATH that is not allowed",
        why: "the loader looks there first; whoever may write to that folder runs code in the program",
        incident: "programs that shipped with the folder of their build machine as run path, such as one below `/tmp` that every user can make",
        peers: "checksec and LIEF show both tags; BinSkim does not; auditwheel rewrites them",
        fix: "drop `-Wl,-rpath`, set `CMAKE_SKIP_RPATH`, or use `$ORIGIN` and allow it",
        is_demanded: |policy| policy.no_rpath,
        check: no_rpath,
    },
    Rule {
        id: "no-text-relocations",
        stages: UNPACKED,
        demanded_by: "`no_text_relocations`",
        catches: "DT_TEXTREL, or DF_TEXTREL in DT_FLAGS",
        why: "the loader then makes code writable to patch it: pages are not shared, and the protection is gone while it does",
        incident: "libraries with assembly that is not position-independent, which Android refuses to load since version 6",
        peers: "checksec and BinSkim do not look; LIEF shows the tag; `ld -z text` refuses to make one",
        fix: "compile everything with `-fPIC`; link with `-Wl,-z,text` to see which object it is",
        is_demanded: |policy| policy.no_text_relocations,
        check: no_text_relocations,
    },
    Rule {
        id: "relro",
        stages: UNPACKED,
        demanded_by: "`relro`: `partial` or `full`",
        catches: "less read-only data after relocation than promised",
        why: "a writable table of function addresses turns one stray write into a jump. Full means: PT_GNU_RELRO, and no function left to bind at its first call. It is what the file asks for; in a static program the libc must carry it out: glibc does, musl does not",
        incident: "exploits that overwrite an entry of .got.plt, the textbook way from a heap overflow to code",
        peers: "checksec and BinSkim (BA3010, BA3011) go by DT_BIND_NOW alone, and so call a program that has nothing to bind lazily partial; LIEF shows the parts",
        fix: "link with `-Wl,-z,relro,-z,now`",
        is_demanded: |policy| policy.relro > Relro::None,
        check: relro,
    },
];

fn no_rpath(case: &Case) -> Finding {
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

fn no_text_relocations(case: &Case) -> Finding {
    let has_any = case.facts.dynamic.as_ref().is_some_and(|dynamic| dynamic.has_text_relocations);
    Finding::pass_if(!has_any, "no DT_TEXTREL", if has_any { "DT_TEXTREL" } else { "none" })
}

fn relro(case: &Case) -> Finding {
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

fn needed_allowed(case: &Case) -> Finding {
    let allowed = &case.policy.needed_allowed;
    let needed = case.facts.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.needed);
    let is_allowed =
        |name: &&String| allowed.iter().any(|pattern| glob::matches(pattern.as_bytes(), name.as_bytes()));
    let wrong = needed.iter().filter(|name| !is_allowed(name)).cloned().collect();
    Finding::pass_if_none(wrong, format!("no DT_NEEDED but {}", list(allowed)))
}

fn glibc_version(case: &Case) -> Finding {
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
