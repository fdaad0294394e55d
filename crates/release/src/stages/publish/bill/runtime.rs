//! Libraries that the tools bring into the binary: the libc, the runtime of the C compiler, the unwinder, and the standard
//! library of Rust with its own dependencies. The linked file shows which of them are in it.

use std::path::Path;

use sbom::{Part, Purl, Role};

use super::{EVIDENCE, property};
use crate::bill::{LinkedCrates, Traces};
use crate::resolution::{Rust, StdOrigin, Tool};

/// A library inside of the distribution of zig.
struct ZigPart {
    name: &'static str,
    description: &'static str,
    licence: &'static str,
    /// In the distribution.
    folder: &'static str,
    trace: Trace,
    /// A C header below `folder` with its version, and the macro; otherwise the version of zig counts.
    version: Option<(&'static str, &'static str)>,
}

/// What only this library has.
enum Trace {
    Function(&'static str),
    ObjectFile(&'static str),
}

const ZIG_PARTS: [ZigPart; 4] = [
    ZigPart {
        name: "musl",
        description: "the libc, as zig distributes it",
        licence: "MIT",
        folder: "lib/libc/musl",
        trace: Trace::Function("__libc_start_main"),
        version: Some(("src/internal/version.h", "VERSION")),
    },
    ZigPart {
        name: "zig-libc",
        description: "functions of the libc that zig implements in place of musl's: allocator, strings, system calls",
        licence: "MIT",
        folder: "lib/c",
        trace: Trace::ObjectFile("zigc"),
        version: None,
    },
    ZigPart {
        name: "compiler-rt",
        description: "runtime of the C compiler, zig's implementation",
        licence: "MIT",
        folder: "lib/compiler_rt",
        trace: Trace::ObjectFile("compiler_rt"),
        version: None,
    },
    ZigPart {
        name: "libunwind",
        description: "unwinder of LLVM, as zig distributes it",
        licence: "Apache-2.0 WITH LLVM-exception",
        folder: "lib/libunwind",
        trace: Trace::Function("_Unwind_RaiseException"),
        version: None,
    },
];

/// Those of zig's libraries that the linked file has.
pub(super) fn of_zig(zig: &Tool, traces: &Traces) -> Vec<Part> {
    ZIG_PARTS
        .iter()
        .filter_map(|part| {
            let found = match part.trace {
                Trace::Function(name) => {
                    traces.functions.contains(name).then(|| format!("the function {name}"))
                }
                Trace::ObjectFile(name) => {
                    traces.object_files.contains(name).then(|| format!("the object file {name}"))
                }
            };
            Some(of_distribution(part, zig, found?))
        })
        .collect()
}

fn of_distribution(part: &ZigPart, zig: &Tool, evidence: String) -> Part {
    let in_zig = Purl::generic("zig", &zig.version).subpath(part.folder).to_string();
    let own = part.version.and_then(|(header, name)| {
        // The distribution has `zig` and `lib` beside each other; an installed zig may keep `lib` elsewhere.
        let path = zig.path.parent()?.join(part.folder).join(header);
        macro_text(&path, name)
    });
    let version = own.clone().unwrap_or_else(|| zig.version.clone());
    let mut described = Part::new(Role::Linked, format!("runtime:{}", part.name), part.name, &version);
    described.description = Some(part.description.into());
    described.licence = Some(part.licence.into());
    described.purl = Some(match &own {
        Some(version) => Purl::generic(part.name, version).to_string(),
        None => in_zig.clone(),
    });
    described.property(property("part-of"), in_zig);
    described.property(property(EVIDENCE), evidence);
    described
}

/// The text of `#define NAME "TEXT"`.
fn macro_text(path: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("#define {name} \"")))?;
    Some(line.strip_suffix('"')?.to_owned())
}

/// The standard library, and the packages that it brings.
pub(super) fn of_rust(rust: &Rust, crates: &LinkedCrates) -> Vec<Part> {
    let traces = &crates.traces;
    // `rustc 1.95.0 (59807616e 2026-04-14)`
    let version = rust.version.split(' ').nth(1).unwrap_or(&rust.version);
    let mut purl = Purl::generic("rust-std", version);
    if let Some(commit) = &traces.rustc_commit {
        purl = purl.qualifier("vcs_url", &format!("git+https://github.com/rust-lang/rust@{commit}"));
    }
    let mut std = Part::new(Role::Linked, "runtime:rust-std", "rust-std", version);
    std.description = Some("the standard library of Rust".into());
    std.licence = Some("Apache-2.0 OR MIT".into());
    std.purl = Some(purl.to_string());
    std.homepage = Some("https://www.rust-lang.org/".into());
    let origin = match rust.std {
        StdOrigin::Installed => "the distribution of rustc",
        StdOrigin::BuildStd => "compiled from the source that belongs to rustc",
    };
    std.property(property("origin"), origin);
    let mut evidence = Vec::new();
    if traces.rustc_commit.is_some() {
        evidence.push("source-paths");
    }
    if traces.symbols.contains("std") {
        evidence.push("symbols");
    }
    std.property(property(EVIDENCE), if evidence.is_empty() { "none".into() } else { evidence.join(", ") });
    let unversioned = crates.unversioned_of_std();
    if !unversioned.is_empty() {
        std.property(property("packages-of-unknown-version"), unversioned.join(", "));
    }
    let mut parts = Vec::new();
    for id in &traces.packages_of_std {
        let mut part = Part::new(Role::Linked, format!("runtime:cargo:{id}"), &id.name, &id.version);
        part.description = Some("a dependency of the standard library of Rust".into());
        part.purl = Some(Purl::cargo(&id.name, &id.version).to_string());
        part.property(property("part-of"), purl.to_string());
        part.property(property(EVIDENCE), "source-paths");
        std.depends_on.push(part.id.clone());
        parts.push(part);
    }
    parts.push(std);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolution::Origin;
    use store::Digest;

    fn zig(path: &Path) -> Tool {
        Tool {
            name: "zig",
            version: "0.17.0".into(),
            path: path.join("zig"),
            sha256: Digest::of(b"zig"),
            origin: Origin::Cache,
            entry: None,
        }
    }

    fn names(parts: &[Part]) -> Vec<String> {
        parts.iter().map(|part| format!("{} {}", part.name, part.version)).collect()
    }

    #[test]
    fn a_library_of_the_toolchain_is_a_part_only_when_the_file_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let header = folder.path().join("lib/libc/musl/src/internal/version.h");
        std::fs::create_dir_all(header.parent().unwrap()).unwrap();
        std::fs::write(&header, "#define VERSION \"1.2.5\"\n").unwrap();
        let mut traces = Traces {
            functions: ["__libc_start_main".into(), "_Unwind_RaiseException".into()].into(),
            object_files: ["zigc".into(), "compiler_rt".into()].into(),
            ..Traces::default()
        };
        let zig = zig(folder.path());
        let all = of_zig(&zig, &traces);
        assert_eq!(names(&all), ["musl 1.2.5", "zig-libc 0.17.0", "compiler-rt 0.17.0", "libunwind 0.17.0"]);
        assert_eq!(all[0].purl.as_deref(), Some("pkg:generic/musl@1.2.5"));
        assert_eq!(all[2].purl.as_deref(), Some("pkg:generic/zig@0.17.0#lib/compiler_rt"));
        traces.object_files.clear();
        assert_eq!(names(&of_zig(&zig, &traces)), ["musl 1.2.5", "libunwind 0.17.0"]);
        // Without the header nothing is claimed but the version of zig.
        std::fs::remove_file(&header).unwrap();
        assert_eq!(names(&of_zig(&zig, &traces))[0], "musl 0.17.0");
    }
}
