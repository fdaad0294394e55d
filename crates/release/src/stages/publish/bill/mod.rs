//! The bill of materials of a release: the crates with their evidence, the vendored libraries with their patches, the libraries of
//! the toolchain, the tools and the shipped files. docs/sbom.md describes the documents.

mod runtime;

use sbom::{Bill, Checksums, Part, Patch, Pedigree, Purl, Role, ShippedFile, Step};
use sha1::{Digest as _, Sha1};
use store::Digest;

use crate::bill::{Crate, CrateId, Evidence, functions_of};
use crate::library::LibraryPlan;
use crate::plan::Plan;
use crate::resolution::{Origin, Tool};
use crate::stage::STAGES;
use crate::stages::image::Image;
use crate::stages::link::Linked;
use crate::stages::toolchain::Toolchain;
use patchset::manifest::Source;

/// The property that says how a part was found in the linked file.
const EVIDENCE: &str = "evidence";
/// Name of the program that writes the documents.
const AUTHOR: &str = "muslin";

/// A property of this project.
fn property(name: &str) -> String {
    format!("{AUTHOR}:{name}")
}

/// Everything that is known about the files of a release.
pub(crate) fn of_release(plan: &Plan, image: &Image) -> anyhow::Result<Bill> {
    let packed = image.proved().tested().packed();
    let stripped = packed.stripped();
    let linked = stripped.linked();
    let toolchain = linked.native().toolchain();
    let crates = linked.crates();

    let mut parts = runtime::of_zig(toolchain.zig(), &crates.traces);
    parts.extend(runtime::of_rust(toolchain.rust(), crates));
    parts.extend(plan.native.iter().map(|library| native(library, linked)));
    let of_toolchain: Vec<String> = parts
        .iter()
        .filter(|part| !part.id.starts_with("runtime:cargo:"))
        .map(|part| part.id.clone())
        .collect();
    let mut product = None;
    for package in crates.crates.compiled.values() {
        let part = compiled(package, &crates.evidence[&package.id], plan);
        if package.id == crates.crates.root {
            product = Some(part);
        } else {
            parts.push(part);
        }
    }
    parts.extend(crates.crates.build.values().map(|package| {
        let mut part = described(package, Role::BuildDependency, format!("build:cargo:{}", package.id), plan);
        part.property(property("features"), package.features.join(","));
        part
    }));
    parts.extend(tools(toolchain));
    let files = [
        (&plan.names.packed, packed.file(), "the program, packed"),
        (&plan.names.unpacked, stripped.file(), "the program, not packed"),
    ]
    .map(|(name, file, description)| {
        let bytes = file.read()?;
        let checksums = checksums(bytes, file.sha256());
        Ok(ShippedFile { name: name.clone(), description: description.into(), checksums })
    });
    let mut product = product.unwrap_or_else(|| Part::new(Role::Product, "", "", ""));
    product.role = Role::Product;
    product.name.clone_from(&plan.config.product.name);
    product.version.clone_from(&plan.version);
    product.depends_on.extend(of_toolchain);
    for (name, value) in [
        ("target", plan.target.clone()),
        ("commit", plan.commit.id.clone()),
        ("commit-dirty", plan.commit.dirty.to_string()),
    ] {
        product.property(property(name), value);
    }
    Ok(Bill {
        product,
        files: files.into_iter().collect::<anyhow::Result<_>>()?,
        parts,
        is_complete: crates.unversioned_of_std().is_empty(),
        steps: STAGES
            .iter()
            .map(|stage| Step { name: stage.name.into(), description: stage.description.into() })
            .collect(),
        created: oci_image::rfc3339(plan.commit.epoch_seconds),
        author: AUTHOR.into(),
        author_version: env!("CARGO_PKG_VERSION").into(),
    })
}

/// A crate that was compiled for the target.
fn compiled(package: &Crate, evidence: &Evidence, plan: &Plan) -> Part {
    let role = match evidence {
        Evidence::Found(_) => Role::Linked,
        Evidence::None { .. } => Role::Untraced,
    };
    let mut part = described(package, role, format!("cargo:{}", package.id), plan);
    part.depends_on = package.depends_on.iter().map(|id| format!("cargo:{id}")).collect();
    part.property(property("features"), package.features.join(","));
    match evidence {
        Evidence::Found(kinds) => part.property(property(EVIDENCE), kinds.join(", ")),
        Evidence::None { reason } => {
            part.property(property(EVIDENCE), "none");
            part.property(property("no-evidence-because"), reason);
        }
    }
    part
}

fn described(package: &Crate, role: Role, id: String, plan: &Plan) -> Part {
    let CrateId { name, version } = &package.id;
    let mut part = Part::new(role, id, name, version);
    part.licence.clone_from(&package.licence);
    part.homepage.clone_from(&package.repository);
    part.sha256.clone_from(&package.sha256);
    let purl = match package.source.as_deref().map(|source| source.split_once('+').unwrap_or(("", source))) {
        Some((_, "https://github.com/rust-lang/crates.io-index" | "https://index.crates.io/")) => {
            Purl::cargo(name, version)
        }
        Some(("git", source)) => {
            let (address, commit) = source.split_once('#').unwrap_or((source, ""));
            let address = address.split('?').next().unwrap_or(address);
            Purl::cargo(name, version).qualifier("vcs_url", &format!("git+{address}@{commit}"))
        }
        Some((_, index)) => Purl::cargo(name, version).qualifier("repository_url", index),
        // A package of the workspace: crates.io may have another one of the same name.
        None => match &package.repository {
            Some(address) if plan.commit.is_known() => Purl::generic(name, version)
                .qualifier("vcs_url", &format!("git+{address}@{}", plan.commit.id)),
            _ => Purl::generic(name, version),
        },
    };
    part.purl = Some(purl.to_string());
    part
}

/// A vendored library with its patches.
fn native(library: &LibraryPlan, linked: &Linked) -> Part {
    let manifest = &library.vendored.manifest;
    let id = format!("native:{}@{}", library.name, library.version);
    let mut part = Part::new(Role::Linked, id, &library.name, &library.version);
    part.licence = Some(library.licence.clone());
    part.homepage = Some(manifest.homepage.clone());
    let files = library.vendored.source_digest();
    let generic = Purl::generic(&library.name, &library.version);
    part.property(property("source-files-sha256"), &files);
    part.property(property("vendor-sha256"), &library.vendor_digest);
    part.property(property("options"), library.options.join(" "));
    let functions = functions_of(library, &linked.crates().traces);
    part.property(property(EVIDENCE), format!("the functions {}", functions.join(", ")));
    let (upstream, sha256, origin) = release_of(library, &generic);
    if library.vendored.patches().next().is_none() {
        part.purl = Some(upstream);
        part.sha256 = sha256;
        return part;
    }
    part.purl = Some(generic.to_string());
    let mut patches = Vec::new();
    for patch in library.vendored.patches() {
        let functions: Vec<&str> = linked
            .patches()
            .functions()
            .iter()
            .filter(|(name, _)| *name == patch.name)
            .map(|(_, function)| function.as_str())
            .collect();
        part.property(property(&format!("patch:{}:sha256", patch.name)), &patch.sha256);
        part.property(property(&format!("patch:{}:{EVIDENCE}", patch.name)), functions.join(", "));
        patches.push(Patch {
            name: format!("{}.patch", patch.name),
            checksums: Checksums { sha1: sha1_hex(&patch.text), sha256: patch.sha256.clone() },
            text: patch.text.clone(),
            reason: patch.why.clone(),
            upstream: patch.upstream.clone(),
        });
    }
    part.pedigree = Some(Pedigree { purl: upstream, sha256, origin, patches });
    part
}

/// The first source with a digest: its address, digest and description. The list of files verifies every source.
fn release_of(library: &LibraryPlan, generic: &Purl) -> (String, Option<String>, String) {
    let sources = &library.vendored.manifest.sources;
    let described = |source: &Source| match source {
        Source::DebianSource { package, version, orig_sha256, .. } => {
            let purl = Purl::new("deb", package, version).namespace("debian").qualifier("arch", "source");
            (purl, Some(orig_sha256.clone()))
        }
        Source::Crate { sha256, .. } => {
            let checksum = format!("sha256:{sha256}");
            (generic.clone().qualifier("checksum", &checksum), Some(sha256.clone()))
        }
        Source::Archive { url, sha256 } => {
            let mut purl = generic.clone().qualifier("download_url", url);
            if let Some(sha256) = sha256 {
                purl = purl.qualifier("checksum", &format!("sha256:{sha256}"));
            }
            (purl, sha256.clone())
        }
    };
    let all: Vec<_> = sources.iter().map(|source| (described(source), source.describe())).collect();
    let pinned = all.iter().find(|((_, sha256), _)| sha256.is_some()).or(all.first());
    let origin = all.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(", or ");
    match pinned {
        Some(((purl, sha256), _)) => (purl.to_string(), sha256.clone(), origin),
        None => (generic.to_string(), None, origin),
    }
}

/// The programs of the build. rustc and cargo are named by their version: rustup's programs are the same file for every one.
fn tools(toolchain: &Toolchain) -> Vec<Part> {
    let tool = |tool: &Tool| {
        let mut part = Part::new(Role::Tool, format!("tool:{}", tool.name), tool.name, &tool.version);
        part.sha256 = Some(tool.sha256.to_string());
        let origin = match tool.origin {
            Origin::Machine => "machine",
            Origin::Cache => "download",
        };
        part.property(property("origin"), origin);
        part
    };
    let programs = [
        Some(toolchain.zig()),
        Some(toolchain.upx()),
        Some(toolchain.make()),
        Some(toolchain.objcopy()),
        Some(toolchain.host_cc()),
        toolchain.emulator(),
    ];
    let mut parts: Vec<Part> = programs.into_iter().flatten().map(tool).collect();
    parts.push(Part::new(Role::Tool, "tool:rustc", "rustc", &toolchain.rust().version));
    let mut wrappers = Part::new(Role::Tool, "tool:wrappers", "wrappers", env!("CARGO_PKG_VERSION"));
    wrappers.description = Some("shell scripts that offer zig as a C compiler and as binutils".into());
    wrappers.property(property("scripts-sha256"), toolchain.wrappers().sha256().to_string());
    parts.push(wrappers);
    parts
}

fn checksums(bytes: &[u8], sha256: &Digest) -> Checksums {
    Checksums { sha1: sha1_hex(bytes), sha256: sha256.to_string() }
}

fn sha1_hex(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
