//! Rules on the symbol table, which exists only before stripping.

use super::{Case, Finding, glob, list};

const NO_TABLE: &str = "no .symtab";
const NO_TABLE_HINT: &str = "judge the file as the linker wrote it, before `strip`";

pub(super) fn required(case: &Case) -> Finding {
    let patterns = &case.policy.required_symbols;
    let expected = format!("defined: {}", list(patterns));
    let Some(symbols) = &case.facts.symbols else {
        return Finding::cannot_tell(expected, NO_TABLE, NO_TABLE_HINT);
    };
    let mut missing: Vec<&str> = patterns.iter().map(String::as_str).collect();
    for (name, is_defined) in symbols.iter() {
        if missing.is_empty() {
            break;
        }
        if is_defined {
            missing.retain(|pattern| !glob::matches(pattern.as_bytes(), name));
        }
    }
    let found =
        if missing.is_empty() { "all defined".into() } else { format!("missing: {}", list(&missing)) };
    Finding::pass_if(missing.is_empty(), expected, found)
}

pub(super) fn forbidden(case: &Case) -> Finding {
    let patterns = &case.policy.forbidden_symbols;
    let expected = format!("absent: {}", list(patterns));
    let Some(symbols) = &case.facts.symbols else {
        return Finding::cannot_tell(expected, NO_TABLE, NO_TABLE_HINT);
    };
    let is_forbidden = |name: &[u8]| patterns.iter().any(|pattern| glob::matches(pattern.as_bytes(), name));
    let hits = symbols.iter().filter(|(name, _)| is_forbidden(name));
    let hits: Vec<String> = hits.map(|(name, _)| String::from_utf8_lossy(name).into_owned()).collect();
    let found = if hits.is_empty() { "all absent".into() } else { format!("present: {}", list(&hits)) };
    Finding::pass_if(hits.is_empty(), expected, found)
}
