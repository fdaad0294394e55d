//! Rules on the work of the run-time loader: search paths, bindings and relocations.

use elf_facts::facts::Relro;

use crate::policy::check_result::{CheckResult, list};
use crate::policy::glibc_version::GlibcVersion;
use crate::policy::rule::{RuleInput, rules};
use elf_facts::patterns as glob;

rules! {
    "needed-allowed" at UNPACKED, enabled by "`needed_allowed`" if |policy| !policy.needed_allowed.is_empty() => needed_allowed {
        detects: "a DT_NEEDED that is not in the list",
        rationale: "each library must exist on the machine of the user",
        incident: "a program needed `libgomp.so.1` after one dependency was compiled with `-fopenmp`",
        other_tools: "auditwheel has such a list for each manylinux platform; the other tools show the names",
        fix: "remove the dependency, link it statically, or add it to the list",
    }
    "glibc-version" at UNPACKED, enabled by "`glibc_max`" if |policy| policy.glibc_max.is_some() => glibc_version {
        detects: "a symbol version of glibc above the allowed one",
        rationale: "the program does not start on a system with an older glibc",
        incident: "the program failed with `version GLIBC_2.34 not found` after an update of the build machine",
        other_tools: "auditwheel judges it by its platform policies; the other tools at most show the versions",
        fix: "build on a system with that glibc, or with `zig cc -target x86_64-linux-gnu.2.31`",
    }
    "no-rpath" at UNPACKED, enabled by "`no_rpath`, less `rpaths_allowed`" if |policy| policy.no_rpath => no_rpath {
        detects: "an entry of DT_RPATH or DT_RUNPATH that is not allowed",
        rationale: "the loader searches there first, so write access to that folder gives code execution in the program",
        incident: "programs shipped with a folder of their build machine as run path, such as one below `/tmp` that every user can create",
        other_tools: "checksec and LIEF show both tags; auditwheel rewrites them; BinSkim ignores them",
        fix: "remove `-Wl,-rpath`, set `CMAKE_SKIP_RPATH`, or use `$ORIGIN` and allow it",
    }
    "no-text-relocations" at UNPACKED, enabled by "`no_text_relocations`" if |policy| policy.no_text_relocations => no_text_relocations {
        detects: "DT_TEXTREL, or DF_TEXTREL in DT_FLAGS",
        rationale: "the loader makes code writable to patch it: pages are not shared, and the code is unprotected meanwhile",
        incident: "Android rejects libraries with position-dependent assembly since version 6",
        other_tools: "LIEF shows the tag; `ld -z text` rejects it at link time; checksec and BinSkim ignore it",
        fix: "compile everything with `-fPIC`; `-Wl,-z,text` names the object",
    }
    "relro" at UNPACKED, enabled by "`relro`: `partial` or `full`" if |policy| policy.relro > Relro::None => relro {
        detects: "less read-only data after relocation than required",
        rationale: "a writable table of function addresses turns one stray write into a jump; `full` means PT_GNU_RELRO without lazy binding; the file requests it, and in a static program the libc must apply it: glibc does, musl does not",
        incident: "exploits overwrite an entry of .got.plt to get from a heap overflow to code execution",
        other_tools: "checksec and BinSkim (BA3010, BA3011) use DT_BIND_NOW alone, and report a program without lazy bindings as partial; LIEF shows the parts",
        fix: "link with `-Wl,-z,relro,-z,now`",
    }
}

fn no_rpath(input: &RuleInput) -> CheckResult {
    let dynamic = input.facts.dynamic.as_ref();
    let paths = dynamic
        .into_iter()
        .flat_map(|dynamic| [("DT_RPATH", &dynamic.rpath), ("DT_RUNPATH", &dynamic.runpath)]);
    let entries = paths.filter_map(|(tag, path)| Some((tag, path.as_ref()?)));
    let entries = entries.flat_map(|(tag, path)| path.split(':').map(move |entry| (tag, entry)));
    let allowed = &input.policy.rpaths_allowed;
    let is_allowed =
        |entry: &str| allowed.iter().any(|pattern| glob::matches(pattern.as_bytes(), entry.as_bytes()));
    let wrong = entries.filter(|(_, entry)| !is_allowed(entry));
    let wrong = wrong.map(|(tag, entry)| format!("{tag} `{entry}`")).collect();
    let expected = if allowed.is_empty() { "no run path".into() } else { format!("only {}", list(allowed)) };
    CheckResult::pass_if_none(wrong, expected)
}

fn no_text_relocations(input: &RuleInput) -> CheckResult {
    let has_any = input.facts.dynamic.as_ref().is_some_and(|dynamic| dynamic.has_text_relocations);
    CheckResult::pass_if(!has_any, "no DT_TEXTREL", if has_any { "DT_TEXTREL" } else { "none" })
}

fn relro(input: &RuleInput) -> CheckResult {
    let name = |relro: Relro| format!("{relro:?}").to_lowercase();
    let (expected, found) = (input.policy.relro, input.facts.relro);
    let reason = match input.facts.dynamic.as_ref().is_some_and(|dynamic| dynamic.has_lazy_bindings) {
        true => ", with lazy binding",
        false => "",
    };
    CheckResult::pass_if(
        found >= expected,
        format!("{} or more", name(expected)),
        format!("{}{reason}", name(found)),
    )
}

fn needed_allowed(input: &RuleInput) -> CheckResult {
    let allowed = &input.policy.needed_allowed;
    let needed = input.facts.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.needed);
    let is_allowed =
        |name: &&String| allowed.iter().any(|pattern| glob::matches(pattern.as_bytes(), name.as_bytes()));
    let wrong = needed.iter().filter(|name| !is_allowed(name)).cloned().collect();
    CheckResult::pass_if_none(wrong, format!("no DT_NEEDED except {}", list(allowed)))
}

fn glibc_version(input: &RuleInput) -> CheckResult {
    let Some(max) = &input.policy.glibc_max else { return CheckResult::pass_if(true, "any", "any") };
    let expected = format!("no symbol version above GLIBC_{max}");
    if input.facts.sections.is_empty() && input.facts.dynamic.is_some() {
        return CheckResult::cannot_tell(
            expected,
            "no section headers",
            "keep the section headers (do not use `sstrip`)",
        );
    }
    let versions = input.facts.needed_versions.iter().map(|needed| &needed.version);
    let newer =
        versions.filter(|name| GlibcVersion::of_symbol_version(name).is_some_and(|version| version > *max));
    let mut newer: Vec<String> = newer.cloned().collect();
    newer.dedup();
    CheckResult::pass_if_none(newer, expected)
}
