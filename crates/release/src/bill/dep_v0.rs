//! The section `.dep-v0`: the crates of the product inside of the binary, in the format of cargo-auditable, which scanners of
//! binaries read. JSON, compressed by zlib, in a section that is not loaded; `strip` keeps it.
//!
//! It exists before the link, so it lists what cargo resolved and knows no evidence. The packed file has no section headers: readers
//! find the section in the unpacked file.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use diag::Diagnostic;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use object::elf::SHT_PROGBITS;
use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, Object as _, ObjectSection, SectionFlags, SectionKind};
use serde::Serialize;
use store::{Digest, atomic_write};

use super::crates::{Crate, CrateId, Crates};
use crate::artifact::Artifact;
use crate::codes::SBOM_SECTION;
use crate::plan::Plan;

/// Name of the section.
pub(crate) const SECTION: &str = ".dep-v0";

/// Procedural macros count as dependencies of the build.
const FORMAT: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    packages: Vec<Package<'a>>,
    format: u32,
}

#[derive(Serialize)]
struct Package<'a> {
    name: &'a str,
    version: &'a str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dependencies: Vec<usize>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    root: bool,
}

/// The content of the section.
pub(crate) fn content(crates: &Crates) -> anyhow::Result<Vec<u8>> {
    // Sorted by name and version, as the format demands; its edges are places in this list.
    let all: BTreeMap<&CrateId, (&Crate, bool)> = crates
        .compiled
        .iter()
        .map(|(id, package)| (id, (package, false)))
        .chain(crates.build.iter().map(|(id, package)| (id, (package, true))))
        .collect();
    let places: BTreeMap<&CrateId, usize> = all.keys().enumerate().map(|(place, id)| (*id, place)).collect();
    let packages = all.iter().map(|(id, (package, is_build))| {
        let edges = crates.edges.get(*id).into_iter().flatten();
        let mut dependencies: Vec<usize> = edges.filter_map(|used| places.get(used).copied()).collect();
        dependencies.sort_unstable();
        Package {
            name: &id.name,
            version: &id.version,
            source: source(package),
            kind: is_build.then_some("build"),
            dependencies,
            root: **id == crates.root,
        }
    });
    let json = serde_json::to_vec(&Document { packages: packages.collect(), format: FORMAT })?;
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&json)?;
    encoder.finish().context("compressing the list of crates")
}

fn source(package: &Crate) -> &'static str {
    match package.source.as_deref() {
        None => "local",
        Some(source) if source.contains("crates.io") => "crates.io",
        Some(source) if source.starts_with("git+") => "git",
        Some(_) => "registry",
    }
}

/// An object file with the section and nothing else. The linker keeps a section that is not loaded.
fn object(target: &str, content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let architecture =
        if target.starts_with("aarch64") { Architecture::Aarch64 } else { Architecture::X86_64 };
    let mut object = Object::new(BinaryFormat::Elf, architecture, Endianness::Little);
    let section = object.add_section(Vec::new(), SECTION.into(), SectionKind::Other);
    object.section_mut(section).flags =
        SectionFlags::Elf { sh_type: SHT_PROGBITS, sh_flags: object::elf::SectionFlags(0) };
    object.append_section_data(section, content, 1);
    object.write().context("writing the object file of the section")
}

/// Writes the object file and returns its path for the linker. The name follows from the content, so cargo links again when
/// the crates change. The path is relative to the workspace, where cargo runs the linker: cargo hashes it into the names of
/// symbols, which must not depend on the folder of the checkout.
pub(crate) fn write(plan: &Plan, content: &[u8]) -> anyhow::Result<PathBuf> {
    let folder = plan.paths.work.join("dep-v0");
    std::fs::create_dir_all(&folder).map_err(|error| store::cannot_write(&folder, error))?;
    let bytes = object(&plan.target, content)?;
    let path = folder.join(format!("{}.o", Digest::of(&bytes).short()));
    atomic_write::bytes(&path, 0o644, &bytes)?;
    Ok(path.strip_prefix(&plan.paths.root).map(Path::to_path_buf).unwrap_or(path))
}

/// A linked or stripped file must have the section, byte for byte.
pub(crate) fn require(file: &Artifact, content: &[u8], stage: &str) -> anyhow::Result<()> {
    let bytes = file.read()?;
    let elf = object::File::parse(bytes).context("reading the sections of the file")?;
    let found = elf.section_by_name(SECTION).and_then(|section| section.data().ok());
    if found == Some(content) {
        return Ok(());
    }
    Err(Diagnostic::new(&SBOM_SECTION, format!("the file lacks the list of crates in `{SECTION}`"))
        .file(file.path())
        .stage(stage)
        .expected(format!("{} bytes with sha256 {}", content.len(), Digest::of(content)))
        .found(match found {
            Some(found) => format!("{} bytes with sha256 {}", found.len(), Digest::of(found)),
            None => "no such section".into(),
        })
        .hint("`readelf --sections FILE` of the linked and of the stripped file shows which step drops it")
        .into())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::bill::crates::tests::example;

    fn json(content: &[u8]) -> String {
        let mut text = String::new();
        flate2::read::ZlibDecoder::new(content).read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn lists_the_crates_in_the_format_of_cargo_auditable() {
        let expected = concat!(
            r#"{"packages":[{"name":"app","version":"1.0.0","source":"local","dependencies":[1,2,3],"root":true},"#,
            r#"{"name":"generator","version":"0.4.0","source":"local","kind":"build"},"#,
            r#"{"name":"macros","version":"0.1.0+meta","source":"crates.io"},"#,
            r#"{"name":"text-lib","version":"2.1.0","source":"crates.io","dependencies":[2]}],"format":1}"#,
        );
        assert_eq!(json(&content(&example()).unwrap()), expected);
        // The types with which scanners read it check the order, the one root and the absence of cycles.
        let read: auditable_serde::VersionInfo = expected.parse().unwrap();
        assert_eq!(read.packages.len(), 4);
        let mut fewer = example();
        fewer.build.clear();
        assert_ne!(content(&example()).unwrap(), content(&fewer).unwrap());
    }

    #[test]
    fn a_file_without_the_section_or_with_another_one_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(folder.path().join(name), bytes).unwrap();
            Artifact::of(folder.path().join(name)).unwrap()
        };
        let content = content(&example()).unwrap();
        for target in ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"] {
            let with = write("with", &object(target, &content).unwrap());
            require(&with, &content, "link").unwrap();
            let other = require(&with, b"other", "link").unwrap_err();
            let without = write(
                "without",
                &Object::new(BinaryFormat::Elf, Architecture::X86_64, Endianness::Little).write().unwrap(),
            );
            for error in [other, require(&without, &content, "link").unwrap_err()] {
                assert!(diag::has_code(&error, &SBOM_SECTION), "{error:#}");
            }
        }
    }
}
