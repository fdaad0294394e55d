//! Differences between two releases of a file: size, segments, sections, symbols, libraries and verdicts.
//!
//! Symbols are compared by name, without the build hash of legacy Rust names: with it, every build would replace every
//! function.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Result, Write};

use elf_facts::facts::{Facts, Segment};
use serde::Serialize;

use units::ByteSize;

use crate::policy::{RuleOutcome, Verdict};
use crate::report::human::Style;
use crate::report::model::{SCHEMA_VERSION, TOOL, Tool};
use crate::report::text::printable;

/// One of the two files.
pub struct DiffSide<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// Facts of the file.
    pub facts: &'a Facts,
    /// Outcomes of the file.
    pub rules: &'a [RuleOutcome],
}

/// Differences between two files. Values that are equal are omitted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// Name and version of the gate.
    pub tool: Tool,
    /// Name of the old file.
    pub old: String,
    /// Name of the new file.
    pub new: String,
    /// Sizes of the files.
    pub size_bytes: Change<u64>,
    /// Values of the ELF header, the dynamic section and the UPX header, by name.
    pub properties: BTreeMap<&'static str, Change<String>>,
    /// By type, counted from 0 within each type: `PT_LOAD 1`.
    pub segments: BTreeMap<String, Change<Option<SegmentShape>>>,
    /// Sizes by section name.
    pub sections: BTreeMap<String, Change<Option<u64>>>,
    /// `None` when one of the files has no symbol table.
    pub symbols: Option<SymbolChanges>,
    /// Effective verdicts by rule; `None` for a rule that is not enabled.
    pub rules: BTreeMap<&'static str, Change<Option<Verdict>>>,
}

/// An old and a new value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Change<T> {
    /// Value of the old file.
    pub old: T,
    /// Value of the new file.
    pub new: T,
}

/// Flags, sizes and alignment of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SegmentShape {
    /// `rwx` with dashes.
    pub flags: String,
    /// `p_filesz`.
    pub file_size_bytes: u64,
    /// `p_memsz`.
    pub memory_size_bytes: u64,
    /// `p_align`.
    pub align: u64,
}

/// Symbols that only one of the files defines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SymbolChanges {
    /// Only in the new file.
    pub added: Vec<String>,
    /// Only in the old file.
    pub removed: Vec<String>,
}

impl Diff {
    /// Compares two files.
    pub fn between(old: &DiffSide, new: &DiffSide) -> Diff {
        Diff {
            schema_version: SCHEMA_VERSION,
            tool: TOOL,
            old: old.file.into(),
            new: new.file.into(),
            size_bytes: Change { old: old.facts.size_bytes, new: new.facts.size_bytes },
            properties: changed(properties(old.facts), properties(new.facts), String::new),
            segments: changed_or_missing(segments(&old.facts.segments), segments(&new.facts.segments)),
            sections: changed_or_missing(sections(old.facts), sections(new.facts)),
            symbols: symbols(old.facts, new.facts),
            rules: changed_or_missing(verdicts(old.rules), verdicts(new.rules)),
        }
    }

    /// Indented JSON with a newline at the end.
    pub fn to_json(&self) -> std::result::Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Text for a terminal.
    pub fn to_human(&self, style: Style) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.render(&mut out, style);
        out
    }

    fn render(&self, out: &mut String, style: Style) -> Result {
        writeln!(out, "- {}\n+ {}", printable(&self.old), printable(&self.new))?;
        let size = self.size_bytes;
        writeln!(
            out,
            "\nsize  {} -> {}  ({})",
            rounded(size.old),
            rounded(size.new),
            delta(size.old, size.new)
        )?;
        let shown = |text: &String| if text.is_empty() { "none".into() } else { printable(text) };
        table(
            out,
            "properties",
            self.properties.iter().map(|(name, change)| {
                (name.to_string(), format!("{} -> {}", shown(&change.old), shown(&change.new)))
            }),
        )?;
        table(
            out,
            "segments",
            self.segments.iter().map(|(name, change)| {
                let shape = |shape: &Option<SegmentShape>| match shape {
                    Some(s) => format!(
                        "{} {:#x} in file, {:#x} in memory",
                        s.flags, s.file_size_bytes, s.memory_size_bytes
                    ),
                    None => "none".into(),
                };
                (name.clone(), format!("{} -> {}", shape(&change.old), shape(&change.new)))
            }),
        )?;
        table(
            out,
            "sections",
            self.sections.iter().map(|(name, change)| {
                let size = |size: Option<u64>| size.map_or("none".into(), rounded);
                let delta = delta(change.old.unwrap_or(0), change.new.unwrap_or(0));
                (printable(name), format!("{} -> {}  ({delta})", size(change.old), size(change.new)))
            }),
        )?;
        match &self.symbols {
            None => writeln!(out, "\nsymbols  not compared: one file has no .symtab")?,
            Some(symbols) => {
                for (sign, names) in [('+', &symbols.added), ('-', &symbols.removed)] {
                    names_of(out, sign, names, style)?;
                }
            }
        }
        table(
            out,
            "rules",
            self.rules.iter().map(|(rule, change)| {
                let name = |verdict: Option<Verdict>| match verdict {
                    None => "not enabled",
                    Some(Verdict::Pass) => "pass",
                    Some(Verdict::Violation) => "FAIL",
                    Some(Verdict::CannotTell) => "????",
                };
                (rule.to_string(), format!("{} -> {}", name(change.old), name(change.new)))
            }),
        )
    }
}

fn names_of(out: &mut String, sign: char, names: &[String], style: Style) -> Result {
    const SHOWN: usize = 20;
    if names.is_empty() {
        return Ok(());
    }
    let label = if sign == '+' { "added" } else { "removed" };
    writeln!(out, "\nsymbols {label}: {}", names.len())?;
    let shown = if style.shows_passes { names.len() } else { SHOWN };
    for name in names.iter().take(shown) {
        writeln!(out, "  {sign} {}", printable(name))?;
    }
    match names.len().checked_sub(shown) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "  {sign} {more} more; use `-v` or JSON for all"),
    }
}

fn table(out: &mut String, title: &str, rows: impl Iterator<Item = (String, String)>) -> Result {
    let rows: Vec<(String, String)> = rows.collect();
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).min(40);
    match rows.len() {
        0 => writeln!(out, "\n{title}  unchanged"),
        _ => {
            writeln!(out, "\n{title}")?;
            rows.iter().try_for_each(|(name, change)| writeln!(out, "  {name:width$}  {change}"))
        }
    }
}

fn rounded(size: u64) -> String {
    ByteSize(size).rounded()
}

fn delta(old: u64, new: u64) -> String {
    let sign = if new < old { '-' } else { '+' };
    let difference = new.abs_diff(old);
    match old {
        _ if difference == 0 => "unchanged".into(),
        0 => format!("{sign}{difference} B"),
        _ => format!("{sign}{difference} B, {sign}{:.2} %", 100.0 * difference as f64 / old as f64),
    }
}

fn properties(facts: &Facts) -> BTreeMap<&'static str, String> {
    let mut properties = BTreeMap::new();
    properties.insert("type", format!("{:?}", facts.header.elf_type).to_lowercase());
    properties.insert("machine", facts.header.machine.clone());
    properties.insert("class", format!("{} bit", facts.header.class_bits));
    properties.insert("OS ABI", facts.header.os_abi.to_string());
    let mut add = |name, value: Option<String>| value.map(|value| properties.insert(name, value));
    add("interpreter", facts.interpreter.clone());
    add("build-id", facts.build_id.clone());
    add("debug link", facts.debug_link.as_ref().map(|link| format!("{} {:08x}", link.file_name, link.crc32)));
    if let Some(dynamic) = &facts.dynamic {
        add("needed", Some(dynamic.needed.join(", ")));
        add("soname", dynamic.soname.clone());
        add("rpath", dynamic.rpath.clone());
        add("runpath", dynamic.runpath.clone());
        add("dynamic flags", Some(format!("{:#x} {:#x}", dynamic.flags, dynamic.flags_1)));
    }
    if let Some(upx) = &facts.upx {
        add("UPX", Some(upx.loader.as_ref().map_or("damaged".into(), |l| format!("version {}", l.version))));
        let method = upx.pack_header.as_ref().map(|pack| elf_facts::upx::method_name(pack.method));
        add("UPX method", method);
        add("unpacked size", upx.program.as_ref().map(|program| program.file_size_bytes.to_string()));
    }
    properties
}

fn segments(segments: &[Segment]) -> BTreeMap<String, SegmentShape> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let named = segments.iter().map(|segment| {
        let count = counts.entry(&segment.kind).or_insert(0);
        let name = format!("{} {count}", segment.kind);
        *count += 1;
        let shape = SegmentShape {
            flags: segment.flags.clone(),
            file_size_bytes: segment.file_size_bytes,
            memory_size_bytes: segment.memory_size_bytes,
            align: segment.align,
        };
        (name, shape)
    });
    named.collect()
}

/// Adds up sections of the same name, which relocatable files have.
fn sections(facts: &Facts) -> BTreeMap<String, u64> {
    let mut sizes = BTreeMap::new();
    for section in facts.sections.iter().filter(|section| !section.name.is_empty()) {
        let size: &mut u64 = sizes.entry(section.name.clone()).or_insert(0);
        *size = size.saturating_add(section.size_bytes);
    }
    sizes
}

fn symbols(old: &Facts, new: &Facts) -> Option<SymbolChanges> {
    let (old, new) = (names(old)?, names(new)?);
    let only_in = |these: &BTreeSet<String>, those: &BTreeSet<String>| {
        these.difference(those).cloned().collect::<Vec<String>>()
    };
    Some(SymbolChanges { added: only_in(&new, &old), removed: only_in(&old, &new) })
}

fn names(facts: &Facts) -> Option<BTreeSet<String>> {
    let defined = facts.symbols.as_ref()?.iter().filter(|(_, is_defined)| *is_defined);
    Some(defined.map(|(name, _)| without_build_hash(&String::from_utf8_lossy(name))).collect())
}

/// `_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE` -> `_ZN4core3fmt5Write9write_fmtE`, without suffixes of the compiler
/// such as `.llvm.123`.
fn without_build_hash(name: &str) -> String {
    let plain = name.find(".llvm.").map_or(name, |at| &name[..at]);
    let Some((before, rest)) = plain.rsplit_once("17h") else { return plain.into() };
    match rest.strip_suffix('E') {
        Some(hash)
            if plain.starts_with("_ZN")
                && hash.len() == 16
                && hash.bytes().all(|b| b.is_ascii_hexdigit()) =>
        {
            format!("{before}E")
        }
        _ => plain.into(),
    }
}

fn verdicts(rules: &[RuleOutcome]) -> BTreeMap<&'static str, Verdict> {
    rules.iter().map(|outcome| (outcome.rule, outcome.effective())).collect()
}

fn changed<K: Ord + Clone, V: PartialEq>(
    mut old: BTreeMap<K, V>,
    mut new: BTreeMap<K, V>,
    missing: impl Fn() -> V,
) -> BTreeMap<K, Change<V>> {
    let keys: BTreeSet<K> = old.keys().chain(new.keys()).cloned().collect();
    let changes = keys.into_iter().map(|key| {
        let (old, new) =
            (old.remove(&key).unwrap_or_else(&missing), new.remove(&key).unwrap_or_else(&missing));
        (key, Change { old, new })
    });
    changes.filter(|(_, change)| change.old != change.new).collect()
}

fn changed_or_missing<K: Ord + Clone, V: PartialEq>(
    old: BTreeMap<K, V>,
    new: BTreeMap<K, V>,
) -> BTreeMap<K, Change<Option<V>>> {
    let some = |map: BTreeMap<K, V>| map.into_iter().map(|(key, value)| (key, Some(value))).collect();
    changed(some(old), some(new), || None)
}

#[cfg(test)]
mod tests {
    use super::{delta, without_build_hash};

    #[test]
    fn ignores_the_build_hash_of_symbol_names() {
        let check = |name, expected| assert_eq!(without_build_hash(name), expected);
        check("_ZN4core3fmt9write_fmt17h0123456789abcdefE", "_ZN4core3fmt9write_fmtE");
        check("_ZN4core3fmt9write_fmt17h0123456789abcdefE.llvm.42", "_ZN4core3fmt9write_fmtE");
        check("_ZN4core17h0123456789abcdeE", "_ZN4core17h0123456789abcdeE");
        check("main", "main");
        check("17h0123456789abcdefE", "17h0123456789abcdefE");
    }

    #[test]
    fn shows_differences_in_bytes_and_percent() {
        assert_eq!(delta(100, 100), "unchanged");
        assert_eq!(delta(100, 150), "+50 B, +50.00 %");
        assert_eq!(delta(100, 75), "-25 B, -25.00 %");
        assert_eq!(delta(0, 7), "+7 B");
    }
}
