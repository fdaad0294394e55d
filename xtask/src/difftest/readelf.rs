//! The facts of readelf, parsed from the text of `readelf -hldsnW`. Lines that do not parse are not compared; a line that is
//! parsed incorrectly appears as a difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::ToolFacts;
use super::gate::{segment_line, symbol_line};

pub fn read(files: &[PathBuf]) -> anyhow::Result<BTreeMap<PathBuf, ToolFacts>> {
    // One process for several files, because most files are small.
    let batches: Vec<&[PathBuf]> = files.chunks(40).collect();
    let mut all = BTreeMap::new();
    let read: Vec<_> = batches.par_iter().map(|batch| read_batch(batch)).collect();
    for batch in read {
        all.extend(batch?);
    }
    Ok(all)
}

fn read_batch(files: &[PathBuf]) -> anyhow::Result<BTreeMap<PathBuf, ToolFacts>> {
    // With a second argument readelf prints the name of every file.
    let output = Command::new("readelf")
        .env("LC_ALL", "C")
        .args(["-hldsnW", "/dev/null"])
        .args(files)
        .stderr(Stdio::null())
        .output()
        .context("cannot run `readelf`: install the package binutils")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut readings = BTreeMap::new();
    let starts: Vec<&str> = text.split("\nFile: ").skip(1).collect();
    for part in starts {
        let Some((name, rest)) = part.split_once('\n') else { continue };
        if files.iter().any(|file| file == Path::new(name)) {
            readings.insert(PathBuf::from(name), parse(rest));
        }
    }
    if readings.is_empty() {
        bail!("`readelf` printed nothing about {}", files[0].display());
    }
    Ok(readings)
}

fn parse(text: &str) -> ToolFacts {
    let mut reading = ToolFacts::new();
    for fact in
        ["segments", "segment names", "interpreter", "needed", "soname", "rpath", "runpath", "build-id"]
    {
        reading.insert(fact, Vec::new());
    }
    reading.insert(".symtab entries", vec!["0".into()]);
    reading.insert(".dynsym entries", vec!["0".into()]);
    reading.insert("text relocations", vec!["false".into()]);
    reading.insert("binds now", vec!["false".into()]);
    reading.insert(".symtab names", Vec::new());
    reading.insert(".dynsym names", Vec::new());
    let mut table: Option<&'static str> = None;
    let mut is_in_segments = false;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Symbol table '") {
            table = match rest.split_once('\'') {
                Some((".symtab", _)) => Some(".symtab names"),
                Some((".dynsym", _)) => Some(".dynsym names"),
                _ => None,
            };
            let counted = match table {
                Some(".symtab names") => ".symtab entries",
                _ => ".dynsym entries",
            };
            if let (Some(_), Some((_, rest))) = (table, rest.split_once("contains ")) {
                let count = rest.split(' ').next().unwrap_or_default();
                reading.insert(counted, vec![count.into()]);
            }
        } else if line.starts_with("Program Headers:") {
            is_in_segments = true;
        } else if line.is_empty() {
            (is_in_segments, table) = (false, None);
        } else if let Some(fact) = table {
            if let Some(symbol) = symbol(line) {
                reading.entry(fact).or_default().push(symbol);
            }
        } else if is_in_segments {
            segment(line, &mut reading);
        } else {
            header_or_dynamic(line, &mut reading);
        }
    }
    reading
}

fn header_or_dynamic(line: &str, reading: &mut ToolFacts) {
    let after = |label: &str| line.trim_start().strip_prefix(label).map(str::trim);
    if let Some(class) = after("Class:") {
        reading.insert("class", vec![class.trim_start_matches("ELF").into()]);
    } else if let Some(data) = after("Data:") {
        let order = if data.contains("little endian") { "little" } else { "big" };
        reading.insert("byte order", vec![order.into()]);
    } else if let (Some(kind), None) = (after("Type:"), reading.get("type")) {
        reading.insert("type", vec![kind.split(' ').next().unwrap_or_default().into()]);
    } else if let Some(entry) = after("Entry point address:") {
        reading.insert("entry", vec![entry.into()]);
    } else if let Some((_, id)) = line.split_once("Build ID: ") {
        // The note may be in two segments; the first one counts.
        let ids = reading.entry("build-id").or_default();
        if ids.is_empty() {
            ids.push(id.into());
        }
    }
    let Some((_, entry)) = line.split_once('(') else { return };
    let Some((tag, value)) = entry.split_once(')') else { return };
    let bracketed = || Some(value.split_once('[')?.1.strip_suffix(']')?.to_string());
    let fact = match tag {
        "NEEDED" => "needed",
        "SONAME" => "soname",
        "RPATH" => "rpath",
        "RUNPATH" => "runpath",
        "TEXTREL" => return set(reading, "text relocations"),
        "BIND_NOW" => return set(reading, "binds now"),
        "FLAGS" | "FLAGS_1" => {
            if value.split_whitespace().any(|flag| flag == "TEXTREL") {
                set(reading, "text relocations");
            }
            if value.split_whitespace().any(|flag| matches!(flag, "BIND_NOW" | "NOW")) {
                set(reading, "binds now");
            }
            return;
        }
        _ => return,
    };
    if line.trim_start().starts_with("0x") {
        reading.entry(fact).or_default().extend(bracketed());
    }
}

fn set(reading: &mut ToolFacts, fact: &'static str) {
    reading.insert(fact, vec!["true".into()]);
}

fn segment(line: &str, reading: &mut ToolFacts) {
    if let Some((_, name)) = line.split_once("[Requesting program interpreter: ") {
        reading.insert("interpreter", vec![name.trim_end_matches(']').into()]);
        return;
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, offset, address, _physical, file, memory, flags @ .., align] = &words[..] else { return };
    // readelf prints an alignment of 0 without `0x`.
    let number = |word: &str| u64::from_str_radix(word.strip_prefix("0x").unwrap_or(word), 16).ok();
    let numbers = [offset, address, file, memory, align].map(|word| number(word));
    let [Some(offset), Some(address), Some(file), Some(memory), Some(align)] = numbers else { return };
    let flags: String = flags.concat();
    let bit = |letter: char, bit: u32| if flags.contains(letter) { bit } else { 0 };
    let flags = bit('R', 4) | bit('W', 2) | bit('E', 1);
    const KNOWN: [&str; 12] = [
        "NULL",
        "LOAD",
        "DYNAMIC",
        "INTERP",
        "NOTE",
        "SHLIB",
        "PHDR",
        "TLS",
        "GNU_EH_FRAME",
        "GNU_STACK",
        "GNU_RELRO",
        "GNU_PROPERTY",
    ];
    let name = if KNOWN.contains(name) { name } else { "?" };
    reading.entry("segment names").or_default().push(name.into());
    let line = segment_line(flags, [offset, address, file, memory, align]);
    reading.entry("segments").or_default().push(line);
}

/// `   Num:    Value          Size Type    Bind   Vis      Ndx Name`
fn symbol(line: &str) -> Option<String> {
    let mut rest = line.trim_start();
    let mut word = || {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        rest = after.trim_start();
        word
    };
    let number = word();
    number.strip_suffix(':')?.parse::<u64>().ok()?;
    let (_value, _size, kind) = (word(), word(), word());
    // readelf prints STB_GNU_UNIQUE as `<OS specific>: 10` in files without the GNU ABI.
    if word().starts_with('<') {
        // The empty word ends the loop on a malformed line.
        while !matches!(word(), "" | "specific>:") {}
        word();
    }
    let _visibility = word();
    let mut section = word();
    while section.starts_with('[') || section.ends_with(']') {
        section = word();
    }
    if matches!(kind, "SECTION" | "FILE") || rest.is_empty() {
        return None;
    }
    Some(symbol_line(rest, section != "UND"))
}

#[cfg(test)]
mod tests {
    use super::{parse, symbol};

    #[test]
    fn parses_all_forms_of_symbol_lines() {
        let check = |line, expected: Option<&str>| assert_eq!(symbol(line).as_deref(), expected, "{line}");
        check(
            "     1: 0000000000000000     0 FUNC    GLOBAL DEFAULT  UND free@GLIBC_2.2.5 (2)",
            Some("free undefined"),
        );
        check("    12: 0000000000001000    16 OBJECT  <OS specific>: 10 DEFAULT   14 unique", Some("unique"));
        check(
            "    13: 0000000000001000    16 FUNC    GLOBAL DEFAULT [VARIANT_PCS]    9 kernel",
            Some("kernel"),
        );
        check("    14: 0000000000001000    16 FUNC    GLOBAL DEFAULT    9 a b c", Some("a b c"));
        check("     2: 0000000000000000     0 SECTION LOCAL  DEFAULT    1 .text", None);
        check("     0: 0000000000000000     0 NOTYPE  LOCAL  DEFAULT  UND ", None);
        check("   Num:    Value          Size Type    Bind   Vis      Ndx Name", None);
        check("    12: 0000000000001000    16 OBJECT  <", None);
    }

    #[test]
    fn parses_an_alignment_of_zero_without_prefix() {
        let text = "\nProgram Headers:\n  Type Offset\n  \
                    GNU_STACK      0x000000 0x0000000000000000 0x0000000000000000 0x000000 0x800000 RW  0\n";
        let reading = parse(text);
        assert_eq!(reading["segments"], ["rw- 0x0 0x0 0x0 0x800000 0x0"]);
        assert_eq!(reading["segment names"], ["GNU_STACK"]);
    }
}
