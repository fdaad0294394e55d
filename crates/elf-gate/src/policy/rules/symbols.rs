//! Rules on symbols: required, forbidden and undefined ones.

use elf_facts::facts::{FileKind, NamedSymbol, demangle};
use elf_facts::patterns::Patterns;

use crate::policy::check_result::{CheckResult, list};
use crate::policy::rule::{RuleInput, rules};

rules! {
    "required-symbols" at UNPACKED, enabled by "`required_symbols`" if |policy| !policy.required_symbols.is_empty() => required {
        detects: "a required symbol that is not defined",
        rationale: "without a kernel or a patched function the binary still works, but slowly or incorrectly",
        incident: "an OpenBLAS had no AVX-512 kernel, because the compiler parsed `-march=skylake-avx512` as `minus avx512` and the build continued",
        other_tools: "none; `nm` lists names",
        fix: "check the archive with `nm --defined-only`, and the link line: the object was not built or not linked",
    }
    "forbidden-symbols" at BEFORE_PACKING, enabled by "`forbidden_symbols`" if |policy| !policy.forbidden_symbols.is_empty() => forbidden {
        detects: "a forbidden symbol, defined or referenced",
        rationale: "dependencies can bring test hooks, another allocator, or dlopen in a static binary",
        incident: "a musl program with `_dl_find_object` from the libgcc_eh of a glibc system crashed at its first panic",
        other_tools: "auditwheel rejects libpython; BinSkim forbids some C functions, in PE files only",
        fix: "find the library with `nm -A *.a | grep NAME`, and disable the feature that uses it",
    }
    "undefined-symbols" at UNPACKED, enabled by "`undefined_symbols` (it may be empty)" if |policy| policy.undefined_symbols.is_some() => undefined {
        detects: "an undefined reference that is neither weak nor in the list",
        rationale: "the program fails at its start, or with lazy binding at the first call",
        incident: "a plugin loaded in every test, because the test program defined the missing symbol",
        other_tools: "`ld -z defs`, `ldd -r` and symcheck detect it; checksec, BinSkim and LIEF have no such rule",
        fix: "link with `-Wl,-z,defs`, or add the symbol to the list",
    }
}

pub(super) const NO_TABLE: &str = "no .symtab";
pub(super) const NO_TABLE_HINT: &str = "judge the linked file, before `strip`";

pub(super) fn display_name(name: &[u8]) -> String {
    demangle(name).unwrap_or_else(|| String::from_utf8_lossy(name).into_owned())
}

fn required(input: &RuleInput) -> CheckResult {
    let required = &input.policy.required_symbols;
    let expected = format!("defined: {}", list(required));
    let patterns = Patterns::of(required);
    let mut missing: Vec<&str> = required.iter().map(String::as_str).collect();
    for symbol in find(input, &patterns).into_iter().filter(|symbol| symbol.is_defined) {
        patterns.matching(symbol.name, &mut |hit| missing.retain(|pattern| *pattern != hit));
    }
    if !missing.is_empty() && input.facts.symbols.is_none() {
        return CheckResult::cannot_tell(expected, NO_TABLE, NO_TABLE_HINT);
    }
    let found =
        if missing.is_empty() { "all defined".into() } else { format!("missing: {}", list(&missing)) };
    let items: Vec<String> = missing.iter().map(|pattern| pattern.to_string()).collect();
    CheckResult { items, ..CheckResult::pass_if(missing.is_empty(), expected, found) }
}

fn forbidden(input: &RuleInput) -> CheckResult {
    let expected = format!("absent: {}", list(&input.policy.forbidden_symbols));
    let patterns = Patterns::of(&input.policy.forbidden_symbols);
    let mut hits: Vec<String> =
        find(input, &patterns).into_iter().map(|symbol| display_name(symbol.name)).collect();
    hits.sort_unstable();
    hits.dedup();
    if hits.is_empty() && input.facts.symbols.is_none() {
        return CheckResult::cannot_tell(expected, NO_TABLE, NO_TABLE_HINT);
    }
    let found = if hits.is_empty() { "all absent".into() } else { format!("present: {}", list(&hits)) };
    let holds = hits.is_empty();
    CheckResult { items: hits, ..CheckResult::pass_if(holds, expected, found) }
}

/// Weak references may stay undefined. In a static program nothing defines the others at run time.
fn undefined(input: &RuleInput) -> CheckResult {
    let allowed = input.policy.undefined_symbols.as_deref().unwrap_or_default();
    let expected = format!("nothing undefined except {}", list(allowed));
    // In a linked file the loader binds the symbols of .dynsym; .symtab repeats them.
    let table = match input.facts.kind {
        FileKind::Relocatable => input.facts.symbols.as_ref(),
        _ => input.facts.dynamic_symbols.as_ref().or(input.facts.symbols.as_ref()),
    };
    let Some(table) = table else {
        // Without section headers the table may still exist.
        if input.facts.sections.is_empty() || input.facts.kind == FileKind::Relocatable {
            return CheckResult::cannot_tell(expected, "no symbol table", NO_TABLE_HINT);
        }
        return CheckResult::pass_if(true, expected, "no dynamic symbol table");
    };
    let patterns = Patterns::of(allowed);
    // A local undefined symbol was a weak hidden reference that the linker resolved: musl refers to `_DYNAMIC` that way.
    let undefined = table.undefined().into_iter().filter(|symbol| !symbol.is_weak && !symbol.is_local);
    let wrong =
        undefined.filter(|symbol| !patterns.match_any(symbol.name)).map(|symbol| display_name(symbol.name));
    CheckResult::pass_if_none(wrong.collect(), expected)
}

/// The symbols of both tables whose names match.
fn find<'a>(input: &RuleInput<'a>, patterns: &Patterns) -> Vec<NamedSymbol<'a>> {
    let facts = input.facts;
    facts.symbols.iter().chain(&facts.dynamic_symbols).flat_map(|table| patterns.find(table)).collect()
}
