//! What the linked file shows about the origin of its code. Facts only; [`super::linked`] compares them with the crates.
//!
//! - *Symbols*: a defined symbol whose mangled name begins with the crate. Instances of its generic functions count, types of
//!   the crate in names of others do not.
//! - *Source paths*: the folder `NAME-VERSION` of a package below a folder of cargo's registry, in the line table or in a
//!   panic message. A function that was inlined everywhere has no symbol and is in the line table all the same. Only this
//!   shows the version.
//! - *Object files*: names of compiled files (STT_FILE), for the runtime libraries of the C compiler.

use std::collections::BTreeSet;

use anyhow::Context;
use elf_gate::size::crate_of;
use object::{Object, ObjectSymbol, SymbolKind};

use super::crates::CrateId;

/// Follows the folder of a registry in a path.
const REGISTRY: &[u8] = b"/registry/src/";
/// Before the dependencies of the standard library: in the distribution of Rust, and in its source, when cargo compiles it.
const OF_STD: [&[u8]; 2] = [b"/rust/deps/", b"/library/vendor/"];
/// Before the sources of the standard library: `/rustc/COMMIT/library/`.
const RUSTC: &[u8] = b"/rustc/";

/// Names of a linked file, by their kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    /// Crates that begin the name of a defined symbol.
    pub symbols: BTreeSet<String>,
    /// Packages of registries, by source paths.
    pub packages: BTreeSet<CrateId>,
    /// Packages that the standard library brings, by source paths.
    pub packages_of_std: BTreeSet<CrateId>,
    /// The commit of the standard library.
    pub rustc_commit: Option<String>,
    /// Names of compiled files.
    pub object_files: BTreeSet<String>,
    /// Names of defined symbols that are not mangled.
    pub functions: BTreeSet<String>,
}

impl Traces {
    /// Reads symbols and strings of a linked, unstripped file.
    pub(crate) fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        let file = object::File::parse(bytes).context("reading the symbols of the linked file")?;
        let mut traces = Self::default();
        for symbol in file.symbols() {
            let Ok(name) = symbol.name_bytes() else { continue };
            match symbol.kind() {
                SymbolKind::File => {
                    traces.object_files.insert(String::from_utf8_lossy(name).into_owned());
                }
                _ if symbol.is_undefined() => {}
                SymbolKind::Text | SymbolKind::Data | SymbolKind::Tls => match crate_of(name) {
                    Some(owner) => {
                        if !traces.symbols.contains(&*owner) {
                            traces.symbols.insert(owner.into_owned());
                        }
                    }
                    None => {
                        traces.functions.insert(String::from_utf8_lossy(name).into_owned());
                    }
                },
                _ => {}
            }
        }
        for rest in after(bytes, REGISTRY) {
            // The folder of the registry, then that of the package.
            let package = rest.iter().position(|byte| *byte == b'/').and_then(|at| package(&rest[at + 1..]));
            traces.packages.extend(package);
        }
        for marker in OF_STD {
            traces.packages_of_std.extend(after(bytes, marker).filter_map(package));
        }
        traces.rustc_commit = after(bytes, RUSTC).find_map(|rest| {
            let (commit, rest) = rest.split_at_checked(40)?;
            let is_commit = commit.iter().all(u8::is_ascii_hexdigit) && rest.starts_with(b"/library/");
            is_commit.then(|| String::from_utf8_lossy(commit).into_owned())
        });
        Ok(traces)
    }
}

/// What follows each occurrence of `marker`, up to the end of a path.
fn after<'a>(bytes: &'a [u8], marker: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    const PATH_BYTES_MAX: usize = 512;
    memchr::memmem::find_iter(bytes, marker).map(move |at| {
        let rest = &bytes[at + marker.len()..];
        &rest[..rest.len().min(PATH_BYTES_MAX)]
    })
}

/// `NAME-VERSION` at the start of a path, and nothing else in that folder name.
fn package(rest: &[u8]) -> Option<CrateId> {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+".contains(byte);
    let length = rest.iter().take_while(|byte| is_name(byte)).count();
    if !matches!(rest.get(length), None | Some(b'/' | 0)) {
        return None;
    }
    let folder = std::str::from_utf8(&rest[..length]).ok()?;
    // A name may have digits after a dash; a version has three numbers.
    let at = folder.match_indices('-').map(|(at, _)| at).find(|at| is_version(&folder[at + 1..]))?;
    (at > 0).then(|| CrateId { name: folder[..at].into(), version: folder[at + 1..].into() })
}

fn is_version(text: &str) -> bool {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<&str> = numbers.split('.').collect();
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
pub(super) mod tests {
    use object::write::{Object, Symbol, SymbolSection};
    use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolScope};

    use super::*;

    /// An object file with these defined functions, these names of compiled files and these strings.
    pub(crate) fn object_with(functions: &[&str], files: &[&str], strings: &[&str]) -> Vec<u8> {
        let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little);
        let text = object.section_id(object::write::StandardSection::Text);
        for name in functions {
            let offset = object.append_section_data(text, &[0xc3; 16], 16);
            object.add_symbol(Symbol {
                name: name.as_bytes().to_vec(),
                value: offset,
                size: 16,
                kind: SymbolKind::Text,
                scope: SymbolScope::Linkage,
                weak: false,
                section: SymbolSection::Section(text),
                flags: SymbolFlags::None,
            });
        }
        for name in files {
            object.add_file_symbol(name.as_bytes().to_vec());
        }
        let debug = object.add_section(Vec::new(), b".debug_line_str".to_vec(), SectionKind::Debug);
        for text in strings {
            object.append_section_data(debug, format!("{text}\0").as_bytes(), 1);
        }
        object.write().unwrap()
    }

    #[test]
    fn reads_crates_packages_and_object_files() {
        let commit = "59807616e1fa2540724bfbac14d7976d7e4a3860";
        let bytes = object_with(
            &["_ZN4text5parse17h2d059acf6d9340ddE", "numbers_add"],
            &["compiler_rt", "one.c"],
            &[
                "/cargo/registry/src/index.crates.io-1949cf8c6b5b557f/toml-1.2.1+spec-1.1.0/src/lib.rs",
                "/cargo/registry/src/index/x-2d-0.1.0",
                "/rust/deps/hashbrown-0.16.1/src/raw.rs",
                "/rust-debian/usr/src/rustc/library/vendor/gimli-0.32.3/src/lib.rs",
                &format!("/rustc/{commit}/library/core/src/option.rs"),
                // No packages: no version, another character, an unfinished path.
                "/cargo/registry/src/index/notes/a.rs",
                "/cargo/registry/src/index/a b-1.0.0/a.rs",
                "/cargo/registry/src/index",
            ],
        );
        let traces = Traces::read(&bytes).unwrap();
        let names = |list: &BTreeSet<CrateId>| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(traces.symbols.iter().collect::<Vec<_>>(), ["text"]);
        assert_eq!(names(&traces.packages), ["toml@1.2.1+spec-1.1.0", "x-2d@0.1.0"]);
        assert_eq!(names(&traces.packages_of_std), ["gimli@0.32.3", "hashbrown@0.16.1"]);
        assert_eq!(traces.rustc_commit.as_deref(), Some(commit));
        assert!(traces.object_files.contains("compiler_rt") && traces.functions.contains("numbers_add"));
    }
}
