//! Code that needs more than a baseline, by function.

use std::fmt;
use std::ops::Range;

use object::read::elf::{ElfFile, ElfFile64};
use object::{Architecture, Object};
use rayon::prelude::*;

use crate::aarch64;
use crate::baseline::Baseline;
use crate::functions::{self, Piece};
use crate::x86_64::{Classifier, Scanned};

/// What the code of a file requires beyond a baseline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CodeFacts {
    /// Functions with at least one instruction beyond the baseline, in the order of the file.
    pub functions: Vec<FunctionFacts>,
    /// Functions with bytes that are no instruction: data between code, or an extension that the decoder does not support.
    pub undecodable: Vec<FunctionFacts>,
    /// The file has names of functions.
    pub has_symbols: bool,
    /// Bytes that were decoded.
    pub code_bytes: u64,
}

/// A function, and its first instruction of interest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionFacts {
    /// Mangled names; several at one address, none for code outside of all symbols.
    pub names: Vec<String>,
    /// Address of the instruction; in an object file, the offset in its section.
    pub address: u64,
    /// Its mnemonic. Empty for bytes that are no instruction.
    pub mnemonic: String,
    /// The features that the baseline lacks.
    pub features: Vec<String>,
    /// Number of such instructions in the function.
    pub count: usize,
}

/// Why the code of a file cannot be compared with a baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeProblem {
    /// The baseline names no level for the machine of the file.
    NoBaseline(String),
    /// The headers, sections or symbols are damaged.
    Malformed(String),
}

impl fmt::Display for CodeProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CodeProblem::NoBaseline(machine) => {
                write!(f, "the baseline names no level or feature of {machine}")
            }
            CodeProblem::Malformed(cause) => write!(f, "the code cannot be read: {cause}"),
        }
    }
}

impl std::error::Error for CodeProblem {}

impl From<object::read::Error> for CodeProblem {
    fn from(error: object::read::Error) -> CodeProblem {
        CodeProblem::Malformed(error.to_string())
    }
}

/// Decodes all executable sections of a 64-bit ELF file, in the thread pool of rayon.
pub fn beyond_baseline(bytes: &[u8], baseline: &Baseline) -> Result<CodeFacts, CodeProblem> {
    let file: ElfFile64 = ElfFile::parse(bytes)?;
    match (file.architecture(), baseline) {
        (Architecture::X86_64, Baseline { x86_64: Some(features), .. }) => {
            let classifier = Classifier::new(*features);
            scan(&file, bytes, |code| classifier.scan(code))
        }
        (Architecture::Aarch64, Baseline { aarch64: Some(features), .. }) => {
            let features: aarch64::Features = *features;
            scan(&file, bytes, |code| features.scan(code))
        }
        (machine, _) => Err(CodeProblem::NoBaseline(format!("{machine:?}").to_lowercase())),
    }
}

/// A piece of code, and where its names are in a list of all names.
struct NamedPiece<'data> {
    names: Range<usize>,
    is_continued: bool,
    address: u64,
    code: &'data [u8],
}

/// Pieces that one task of the thread pool decodes: about 0.1 ms.
const PIECES_PER_TASK: usize = 64;

fn scan(
    file: &ElfFile64,
    bytes: &[u8],
    scan: impl Fn(&[u8]) -> Scanned + Sync,
) -> Result<CodeFacts, CodeProblem> {
    let mut all_names: Vec<&[u8]> = Vec::new();
    let mut pieces: Vec<NamedPiece> = Vec::new();
    let mut code_bytes = 0_u64;
    functions::for_each(file, |Piece { names, is_continued, address, code }| {
        code_bytes = code_bytes.saturating_add(code.len() as u64);
        // Sections of a damaged file may all cover the whole file.
        if code_bytes > bytes.len() as u64 {
            return;
        }
        // With many names and many parts, a list for each part would take quadratic memory.
        let names = match pieces.last() {
            Some(earlier) if is_continued => earlier.names.clone(),
            _ => {
                let start = all_names.len();
                all_names.extend(names);
                start..all_names.len()
            }
        };
        pieces.push(NamedPiece { names, is_continued, address, code });
    })?;
    if code_bytes > bytes.len() as u64 {
        return Err(CodeProblem::Malformed("executable sections overlap".into()));
    }
    let names_of = |piece: &NamedPiece| all_names.get(piece.names.clone()).unwrap_or_default();
    let scanned: Vec<Scanned> =
        pieces.par_iter().with_min_len(PIECES_PER_TASK).map(|piece| scan(piece.code)).collect();

    let mut facts =
        CodeFacts { has_symbols: file.symbol_table().is_some(), code_bytes, ..CodeFacts::default() };
    // Of the current function: its position in the list, and whether it is listed as undecodable.
    let (mut beyond, mut is_undecodable) = (None, false);
    for (piece, Scanned { first, count, undecodable }) in pieces.iter().zip(scanned) {
        if !piece.is_continued {
            (beyond, is_undecodable) = (None, false);
        }
        let function = |offset: u64, mnemonic, features, count| FunctionFacts {
            names: names_of(piece).iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect(),
            address: piece.address.wrapping_add(offset),
            mnemonic,
            features,
            count,
        };
        // A function is listed once, with all its parts.
        if let Some((offset, mnemonic, features)) = first {
            let known = beyond.and_then(|index: usize| facts.functions.get_mut(index));
            match known {
                Some(known) => known.count = known.count.saturating_add(count),
                None => {
                    beyond = Some(facts.functions.len());
                    facts.functions.push(function(offset, mnemonic, features, count));
                }
            }
        }
        if let Some(offset) = undecodable.filter(|_| !is_undecodable) {
            is_undecodable = true;
            facts.undecodable.push(function(offset, String::new(), Vec::new(), 1));
        }
    }
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use object::write::{Object, StandardSection, Symbol, SymbolSection};
    use object::{BinaryFormat, Endianness, SymbolFlags, SymbolKind, SymbolScope};

    use super::*;

    fn object_with(machine: Architecture, functions: &[(&str, &[u8])]) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, machine, Endianness::Little);
        let text = object.section_id(StandardSection::Text);
        for (name, code) in functions {
            let value = object.append_section_data(text, code, 4);
            object.add_symbol(Symbol {
                name: name.as_bytes().to_vec(),
                value,
                size: code.len() as u64,
                kind: SymbolKind::Text,
                scope: SymbolScope::Linkage,
                weak: false,
                section: SymbolSection::Section(text),
                flags: SymbolFlags::None,
            });
        }
        object.write().unwrap()
    }

    #[test]
    fn names_the_functions_beyond_the_baseline() {
        let plain: &[u8] = &[0x0f, 0x58, 0xc0, 0xc3];
        let avx: &[u8] = &[0x90, 0xc5, 0xfc, 0x58, 0xc0, 0xc3];
        let data: &[u8] = &[0x06, 0x06, 0x06, 0xc3];
        let bytes = object_with(Architecture::X86_64, &[("plain", plain), ("fast", avx), ("table", data)]);
        let baseline = |names: &[&str]| Baseline::parse(names.iter().copied()).unwrap();
        let facts = beyond_baseline(&bytes, &baseline(&["x86-64-v2"])).unwrap();
        let [fast] = &facts.functions[..] else { panic!("{facts:?}") };
        assert_eq!(
            (&*fast.names, &*fast.mnemonic, &*fast.features),
            (&["fast".into()][..], "vaddps", &["avx".into()][..])
        );
        assert_eq!((fast.address, fast.count), (5, 1));
        assert_eq!(
            facts.undecodable.iter().map(|function| &*function.names[0]).collect::<Vec<_>>(),
            ["table"]
        );
        assert_eq!(beyond_baseline(&bytes, &baseline(&["x86-64-v3"])).unwrap().functions, []);

        let cas = 0xc8a0_7c41_u32.to_le_bytes();
        let arm = object_with(Architecture::Aarch64, &[("locked", &cas)]);
        let facts = beyond_baseline(&arm, &baseline(&["armv8-a"])).unwrap();
        assert_eq!((&*facts.functions[0].names[0], &*facts.functions[0].features[0]), ("locked", "lse"));
        assert_eq!(beyond_baseline(&arm, &baseline(&["armv8.1-a"])).unwrap().functions, []);
    }

    #[test]
    fn lists_a_function_with_many_parts_and_names_once() {
        const COUNT: usize = 4_000;
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = object.section_id(StandardSection::Text);
        let avx: &[u8] = &[0xc5, 0xfc, 0x58, 0xc0, 0x06];
        object.append_section_data(text, &avx.repeat(COUNT), 1);
        let mut add = |name: &[u8], value: usize, size: usize| {
            object.add_symbol(Symbol {
                name: name.to_vec(),
                value: value as u64,
                size: size as u64,
                kind: SymbolKind::Text,
                scope: SymbolScope::Linkage,
                weak: false,
                section: SymbolSection::Section(text),
                flags: SymbolFlags::None,
            });
        };
        for index in 0..COUNT {
            add(b"alias", 0, avx.len() * COUNT);
            // The fifth byte of each group is data, except for that of the last one.
            add(b"$x", index * avx.len(), 0);
            if index + 1 < COUNT {
                add(b"$d", index * avx.len() + 4, 0);
            }
        }
        let baseline = Baseline::parse(["x86-64-v1"]).unwrap();
        let facts = beyond_baseline(&object.write().unwrap(), &baseline).unwrap();
        let ([function], [undecodable]) = (&facts.functions[..], &facts.undecodable[..]) else {
            panic!("{} and {} functions", facts.functions.len(), facts.undecodable.len())
        };
        assert_eq!((function.address, function.count, function.names.len()), (0, COUNT, COUNT));
        assert_eq!(undecodable.names.len(), COUNT);
    }

    #[test]
    fn cannot_tell_without_a_level_of_the_machine_and_for_damaged_files() {
        let baseline = Baseline::parse(["x86-64-v2"]).unwrap();
        let arm = object_with(Architecture::Aarch64, &[("f", &[0; 4])]);
        assert_eq!(beyond_baseline(&arm, &baseline), Err(CodeProblem::NoBaseline("aarch64".into())));
        assert!(matches!(beyond_baseline(b"text", &baseline), Err(CodeProblem::Malformed(_))));
        let whole = object_with(Architecture::X86_64, &[("f", &[0xc3; 64])]);
        for cut in 0..whole.len() {
            let _ = beyond_baseline(&whole[..cut], &baseline);
        }
    }
}
