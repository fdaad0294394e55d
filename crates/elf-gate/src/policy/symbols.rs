//! Rules on names: what must be in the file, what must not, and what it may ask others for.

use super::rules::{BEFORE_PACKING, UNPACKED};
use super::{Case, Finding, Rule, glob, list};
use crate::facts::{Form, NamedSymbol, demangle};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "required-symbols",
        stages: UNPACKED,
        demanded_by: "`required_symbols`",
        catches: "a symbol that should be linked in and is not defined",
        why: "a kernel or a patched function that was dropped in silence leaves a binary that works, slowly or wrongly",
        incident: "an OpenBLAS without any AVX-512 kernel, because the compiler read `-march=skylake-avx512` as `minus avx512` and the build went on",
        peers: "none judges it; `nm` lists names",
        fix: "look at the archive with `nm --defined-only`, and at the link line; the part was not built or not pulled in",
        is_demanded: |policy| !policy.required_symbols.is_empty(),
        check: required,
    },
    Rule {
        id: "forbidden-symbols",
        stages: BEFORE_PACKING,
        demanded_by: "`forbidden_symbols`",
        catches: "a symbol that must not be in the file",
        why: "test hooks, another allocator, dlopen in a static binary: they arrive through a dependency unasked",
        incident: "a musl program with `_dl_find_object` in it, from the libgcc_eh of a glibc system, which died at its first panic",
        peers: "auditwheel has a deny list for libpython; BinSkim forbids some C functions in PE files only",
        fix: "`nm -A *.a | grep NAME` shows which library brings it; switch off the feature that pulls it in",
        is_demanded: |policy| !policy.forbidden_symbols.is_empty(),
        check: forbidden,
    },
    Rule {
        id: "undefined-symbols",
        stages: UNPACKED,
        demanded_by: "`undefined_symbols` (it may be empty)",
        catches: "a reference that nothing in the file defines and the list does not name; weak ones may stay",
        why: "it is found at start, or at the first call with lazy binding, on the machine of the user",
        incident: "a plugin that loaded in every test, because the test program happened to define the symbol that it lacked",
        peers: "`ld -z defs` and `ldd -r` see it; symcheck looks for missing definitions; checksec, BinSkim and LIEF do not judge",
        fix: "link with `-Wl,-z,defs`, or name the symbol in the list",
        is_demanded: |policy| policy.undefined_symbols.is_some(),
        check: undefined,
    },
];

const NO_TABLE: &str = "no .symtab";
const NO_TABLE_HINT: &str = "judge the file as the linker wrote it, before `strip`";

/// Patterns, split by what they are matched against: only demangled names hold `::`, `(` or a space.
struct Patterns<'a> {
    raw: Vec<&'a str>,
    demangled: Vec<&'a str>,
}

impl<'a> Patterns<'a> {
    fn of(patterns: &'a [String]) -> Patterns<'a> {
        let (demangled, raw) = patterns
            .iter()
            .map(String::as_str)
            .partition(|pattern| pattern.contains("::") || pattern.contains(['(', ' ', '<']));
        Patterns { raw, demangled }
    }

    /// Calls back with each pattern that matches. A name is demangled only when somebody asks for one.
    fn matching(&self, name: &[u8], mut hit: impl FnMut(&'a str)) {
        for pattern in self.raw.iter().filter(|pattern| glob::matches(pattern.as_bytes(), name)) {
            hit(pattern);
        }
        if self.demangled.is_empty() {
            return;
        }
        if let Some(name) = demangle(name) {
            for pattern in self.demangled.iter().filter(|p| glob::matches(p.as_bytes(), name.as_bytes())) {
                hit(pattern);
            }
        }
    }

    fn match_any(&self, name: &[u8]) -> bool {
        let mut found = false;
        self.matching(name, |_| found = true);
        found
    }
}

fn named(name: &[u8]) -> String {
    demangle(name).unwrap_or_else(|| String::from_utf8_lossy(name).into_owned())
}

fn required(case: &Case) -> Finding {
    let wanted = &case.policy.required_symbols;
    let expected = format!("defined: {}", list(wanted));
    let patterns = Patterns::of(wanted);
    let mut missing: Vec<&str> = wanted.iter().map(String::as_str).collect();
    for symbol in all(case).filter(|symbol| symbol.is_defined) {
        if missing.is_empty() {
            break;
        }
        patterns.matching(symbol.name, |hit| missing.retain(|pattern| *pattern != hit));
    }
    if !missing.is_empty() && case.facts.symbols.is_none() {
        return Finding::cannot_tell(expected, NO_TABLE, NO_TABLE_HINT);
    }
    let found =
        if missing.is_empty() { "all defined".into() } else { format!("missing: {}", list(&missing)) };
    let items: Vec<String> = missing.iter().map(|pattern| pattern.to_string()).collect();
    Finding { items, ..Finding::pass_if(missing.is_empty(), expected, found) }
}

fn forbidden(case: &Case) -> Finding {
    let expected = format!("absent: {}", list(&case.policy.forbidden_symbols));
    let patterns = Patterns::of(&case.policy.forbidden_symbols);
    let mut hits: Vec<String> =
        all(case).filter(|symbol| patterns.match_any(symbol.name)).map(|symbol| named(symbol.name)).collect();
    hits.sort_unstable();
    hits.dedup();
    if hits.is_empty() && case.facts.symbols.is_none() {
        return Finding::cannot_tell(expected, NO_TABLE, NO_TABLE_HINT);
    }
    let found = if hits.is_empty() { "all absent".into() } else { format!("present: {}", list(&hits)) };
    let holds = hits.is_empty();
    Finding { items: hits, ..Finding::pass_if(holds, expected, found) }
}

/// Weak references may stay undefined, and a static program has nobody to define the others.
fn undefined(case: &Case) -> Finding {
    let allowed = case.policy.undefined_symbols.as_deref().unwrap_or_default();
    let expected = format!("nothing undefined but {}", list(allowed));
    // In a linked file the loader binds what .dynsym names; .symtab only repeats it.
    let table = match case.facts.form {
        Form::Relocatable => case.facts.symbols.as_ref(),
        _ => case.facts.dynamic_symbols.as_ref().or(case.facts.symbols.as_ref()),
    };
    let Some(table) = table else {
        // Without section headers the table may be there all the same.
        if case.facts.sections.is_empty() || case.facts.form == Form::Relocatable {
            return Finding::cannot_tell(expected, "no symbol table", NO_TABLE_HINT);
        }
        return Finding::pass_if(true, expected, "no table of symbols to bind");
    };
    let patterns = Patterns::of(allowed);
    // A local one was a weak, hidden question to the linker, which has answered it: musl asks for `_DYNAMIC` that way.
    let undefined =
        table.entries().filter(|symbol| !symbol.is_defined && !symbol.is_weak && !symbol.is_local);
    let wrong = undefined.filter(|symbol| !patterns.match_any(symbol.name)).map(|symbol| named(symbol.name));
    Finding::pass_if_none(wrong.collect(), expected)
}

fn all<'a>(case: &Case<'a>) -> impl Iterator<Item = NamedSymbol<'a>> {
    let facts = case.facts;
    facts.symbols.iter().chain(&facts.dynamic_symbols).flat_map(|table| table.entries())
}
