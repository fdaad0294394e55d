//! The size of a file by crate, section and symbol, as tables and as JSON.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use elf_facts::facts::demangle;
use elf_facts::size::SizeBreakdown;
use serde_json::{Value, json};
use units::ByteSize;

use crate::policy::Stage;
use crate::report::human::Style;
use crate::report::model::TOOL;
use crate::report::text::printable;

/// Incremented when a field changes its meaning or is removed. `schemas/elf-gate-size-N.schema.json` describes the fields.
const SCHEMA_VERSION: u32 = 1;

/// The parts of a file, perhaps beside those of an earlier release.
#[derive(Debug)]
pub struct SizeReport<'a> {
    /// Name of the file.
    pub file: String,
    /// Stage of the file.
    pub stage: Stage,
    /// Size of the file.
    pub size_bytes: u64,
    /// The debug file that the symbols come from.
    pub symbols_from: Option<String>,
    /// Size of the same file in the earlier release.
    pub baseline_size_bytes: Option<u64>,
    /// Its parts, if that release recorded them.
    pub baseline: Option<&'a SizeBreakdown>,
    /// The parts.
    pub breakdown: &'a SizeBreakdown,
}

/// A part of the file now and in the baseline.
struct Row {
    name: String,
    size_bytes: u64,
    baseline_bytes: Option<u64>,
}

impl Row {
    fn growth(&self) -> Option<i128> {
        Some(i128::from(self.size_bytes) - i128::from(self.baseline_bytes?))
    }
}

impl SizeReport<'_> {
    /// A table of the `top` largest parts for each kind of part; with a baseline, of those that grew most.
    pub fn to_human(&self, top: usize, _style: Style) -> String {
        let mut out = format!(
            "{}  {}, {} bytes ({})",
            printable(&self.file),
            self.stage,
            self.size_bytes,
            ByteSize(self.size_bytes).rounded()
        );
        // Writing to a String cannot fail.
        if let Some(old) = self.baseline_size_bytes {
            let change = i128::from(self.size_bytes) - i128::from(old);
            let _ = write!(out, ", {change:+} since the baseline of {old} bytes");
        }
        out.push('\n');
        if let Some(debug) = &self.symbols_from {
            let _ = writeln!(out, "symbols: `{}`", printable(debug));
        }
        if self.baseline_size_bytes.is_some() && self.baseline.is_none() {
            out += "growth of the parts: cannot tell, the baseline has no breakdown\n";
        }
        if self.breakdown.has_symbols() {
            self.table(&mut out, "crate", self.crates(), top);
        } else {
            out += "\ncrates and symbols: cannot tell, no symbols; hint: name the linked file, or its debug file with `--debug-file`\n";
        }
        self.table(&mut out, "section", self.sections(), top);
        if self.breakdown.has_symbols() {
            self.table(&mut out, "symbol", self.symbols(), top);
        }
        out
    }

    /// All rows, as schemas/elf-gate-size-1.schema.json describes them.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let rows = |rows: Vec<Row>| -> Vec<Value> {
            let row = |row: Row| match row.baseline_bytes {
                Some(old) => json!({"name": row.name, "size_bytes": row.size_bytes, "baseline_bytes": old}),
                None => json!({"name": row.name, "size_bytes": row.size_bytes}),
            };
            rows.into_iter().map(row).collect()
        };
        let symbols =
            || self.symbols().into_iter().map(|row| Row { name: demangled(&row.name), ..row }).collect();
        let has_symbols = self.breakdown.has_symbols();
        let document = json!({
            "schema_version": SCHEMA_VERSION,
            "tool": TOOL,
            "file": self.file,
            "stage": self.stage,
            "size_bytes": self.size_bytes,
            "symbols_from": self.symbols_from,
            "baseline_size_bytes": self.baseline_size_bytes,
            "crates": has_symbols.then(|| rows(self.crates())),
            "sections": rows(self.sections()),
            "symbols": has_symbols.then(|| rows(symbols())),
        });
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    fn crates(&self) -> Vec<Row> {
        let old = self.baseline.map(|old| &old.crates).filter(|old| !old.is_empty());
        rows(&self.breakdown.crates, old)
    }

    fn sections(&self) -> Vec<Row> {
        rows(&self.breakdown.sections, self.baseline.map(|old| &old.sections))
    }

    /// Symbols, and the bytes that no symbol covers. Baselines have no symbols.
    fn symbols(&self) -> Vec<Row> {
        let covered: u64 = self.breakdown.symbols.iter().map(|symbol| symbol.size_bytes).sum();
        let rest = self.size_bytes.saturating_sub(covered);
        let symbols = self.breakdown.symbols.iter().map(|symbol| Row {
            name: symbol.name.clone(),
            size_bytes: symbol.size_bytes,
            baseline_bytes: None,
        });
        let rest = Row { name: "[not in a symbol]".into(), size_bytes: rest, baseline_bytes: None };
        let mut rows: Vec<Row> = symbols.chain([rest]).filter(|row| row.size_bytes > 0).collect();
        rows.sort_by_key(|row| Reverse(row.size_bytes));
        rows
    }

    fn table(&self, out: &mut String, what: &str, rows: Vec<Row>, top: usize) {
        const NAME_CHARS_MAX: usize = 90;
        let has_growth = rows.iter().any(|row| row.baseline_bytes.is_some());
        let growth_title = if has_growth { "        growth" } else { "" };
        let _ = writeln!(out, "\n       bytes       %{growth_title}  {what}");
        let mut line = |name: &str, bytes: u64, growth: Option<i128>| {
            let percent =
                if self.size_bytes == 0 { 0.0 } else { bytes as f64 * 100.0 / self.size_bytes as f64 };
            let growth = match (has_growth, growth) {
                (true, Some(growth)) => format!("  {growth:>+12}"),
                (true, None) => " ".repeat(14),
                _ => String::new(),
            };
            let mut name = printable(&demangled(name));
            if name.chars().count() > NAME_CHARS_MAX {
                name = name.chars().take(NAME_CHARS_MAX - 1).chain(['…']).collect();
            }
            let _ = writeln!(out, "{bytes:>12}  {percent:>6.1}{growth}  {name}");
        };
        let (shown, others) = rows.split_at(top.min(rows.len()));
        for row in shown {
            line(&row.name, row.size_bytes, row.growth());
        }
        if !others.is_empty() {
            let growth = others.iter().filter_map(Row::growth).sum();
            let bytes = others.iter().map(|row| row.size_bytes).sum();
            line(&format!("[{} more]", others.len()), bytes, Some(growth));
        }
        line(
            "total",
            self.size_bytes,
            self.baseline_size_bytes.map(|old| i128::from(self.size_bytes) - i128::from(old)),
        );
    }
}

/// The demangled name of a symbol; other names are unchanged.
fn demangled(name: &str) -> String {
    demangle(name.as_bytes()).unwrap_or_else(|| name.into())
}

/// The largest first; with a baseline, what grew most first.
fn rows(new: &BTreeMap<String, u64>, old: Option<&BTreeMap<String, u64>>) -> Vec<Row> {
    let current = new.iter().map(|(name, bytes)| Row {
        name: name.clone(),
        size_bytes: *bytes,
        baseline_bytes: old.map(|old| old.get(name).copied().unwrap_or(0)),
    });
    let removed = old.into_iter().flatten().filter(|(name, _)| !new.contains_key(*name));
    let removed =
        removed.map(|(name, bytes)| Row { name: name.clone(), size_bytes: 0, baseline_bytes: Some(*bytes) });
    let mut rows: Vec<Row> = current.chain(removed).collect();
    rows.sort_by_key(|row| (Reverse(row.growth().unwrap_or(0)), Reverse(row.size_bytes)));
    rows
}
