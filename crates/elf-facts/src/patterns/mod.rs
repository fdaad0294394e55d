//! Sets of patterns of symbol names, matched against tables of tens of thousands of names.
//!
//! The functions that visit every symbol have no type parameters, so they are compiled in this crate, which is optimised in
//! every profile, and not in the crate that calls them.

mod glob;

pub use self::glob::matches;
use crate::elf::symbols::{NamedSymbol, SymbolTable};
use crate::facts::demangle;

/// Bytes at the start of a pattern that select it.
const START_BYTES: usize = 4;

/// Patterns for mangled and for demangled names: only demangled names contain `::`, `(`, `<` or a space.
pub struct Patterns<'a> {
    /// Patterns that begin with four literal bytes, and the hash of these. Most names are dismissed by their hash.
    by_start: Vec<(u8, &'a str)>,
    /// The hashes in `by_start`, one bit each.
    starts: [u64; 4],
    other: Vec<&'a str>,
    demangled: Vec<&'a str>,
}

impl<'a> Patterns<'a> {
    /// A set. It borrows the texts.
    pub fn of<T: AsRef<str>>(patterns: &'a [T]) -> Patterns<'a> {
        let mut set =
            Patterns { by_start: Vec::new(), starts: [0; 4], other: Vec::new(), demangled: Vec::new() };
        for pattern in patterns.iter().map(AsRef::as_ref) {
            if pattern.contains("::") || pattern.contains(['(', ' ', '<']) {
                set.demangled.push(pattern);
                continue;
            }
            let start = pattern.as_bytes().first_chunk::<START_BYTES>();
            match start.filter(|start| !start.contains(&b'*')) {
                Some(start) => {
                    let hash = hash(*start);
                    set.starts[usize::from(hash >> 6)] |= 1 << (hash & 63);
                    set.by_start.push((hash, pattern));
                }
                None => set.other.push(pattern),
            }
        }
        set
    }

    /// Calls `hit` with each matching pattern. Names are demangled only if a pattern needs it.
    pub fn matching(&self, name: &[u8], hit: &mut dyn FnMut(&'a str)) {
        if let Some(start) = name.first_chunk::<START_BYTES>() {
            let hash = hash(*start);
            if self.starts[usize::from(hash >> 6)] >> (hash & 63) & 1 == 1 {
                for (_, pattern) in self.by_start.iter().filter(|(of_pattern, _)| *of_pattern == hash) {
                    if matches(pattern.as_bytes(), name) {
                        hit(pattern);
                    }
                }
            }
        }
        for pattern in &self.other {
            if matches(pattern.as_bytes(), name) {
                hit(pattern);
            }
        }
        if self.demangled.is_empty() {
            return;
        }
        if let Some(name) = demangle(name) {
            for pattern in self.demangled.iter().filter(|p| matches(p.as_bytes(), name.as_bytes())) {
                hit(pattern);
            }
        }
    }

    /// Whether a pattern matches the name.
    pub fn match_any(&self, name: &[u8]) -> bool {
        let mut found = false;
        self.matching(name, &mut |_| found = true);
        found
    }

    /// The symbols whose names match, in the order of the table.
    pub fn find<'table>(&self, table: &'table SymbolTable) -> Vec<NamedSymbol<'table>> {
        table.entries().filter(|symbol| self.match_any(symbol.name)).collect()
    }
}

/// Whether a symbol name matches one of the patterns of a policy.
pub fn matches_any(patterns: &[String], name: &[u8]) -> bool {
    Patterns::of(patterns).match_any(name)
}

fn hash([a, b, c, d]: [u8; START_BYTES]) -> u8 {
    a ^ b.rotate_left(2) ^ c.rotate_left(4) ^ d.rotate_left(6)
}

#[cfg(test)]
mod tests {
    use super::Patterns;

    #[test]
    fn finds_every_matching_pattern_of_any_length() {
        let patterns = ["malloc", "mal*", "*loc", "je_*", "m", "std::*", "__res_n*", "*@GLIBC_*"];
        let check = |name: &str, expected: &[&str]| {
            let mut found = Vec::new();
            Patterns::of(&patterns).matching(name.as_bytes(), &mut |pattern| found.push(pattern));
            found.sort_unstable();
            assert_eq!(found, expected, "{name}");
        };
        check("malloc", &["*loc", "mal*", "malloc"]);
        check("mal", &["mal*"]);
        check("m", &["m"]);
        check("je_malloc", &["*loc", "je_*"]);
        check("__res_ninit", &["__res_n*"]);
        check("__res_init", &[]);
        check("open@GLIBC_2.4", &["*@GLIBC_*"]);
        check("_ZNSt6vectorIiSaIiEE9push_backERKi", &["std::*"]);
        check("", &[]);
    }
}
