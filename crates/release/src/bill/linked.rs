//! Compares the crates that cargo resolved with the traces of the linked file, in both directions: a crate without a trace is
//! an error unless release.toml gives the reason, and so is code of a crate that is not in the list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use diag::{Diagnostic, Diagnostics};
use store::Digest;

use super::crates::{Crate, CrateId, Crates};
use super::dep_v0;
use super::traces::Traces;
use crate::artifact::Artifact;
use crate::codes::{SBOM_EXCEPTION, SBOM_NO_EVIDENCE, SBOM_UNLISTED};
use crate::config::Sbom;
use crate::library::LibraryPlan;
use crate::plan::Plan;
use crate::stage::StageId;

/// Crates of the Rust distribution without a version of their own. `__rustc` is the allocator shim of the compiler.
const STANDARD_LIBRARY: [&str; 11] = [
    "__rustc",
    "alloc",
    "compiler_builtins",
    "core",
    "panic_abort",
    "panic_unwind",
    "proc_macro",
    "std",
    "std_detect",
    "test",
    "unwind",
];

/// Packages that the standard library brings. Where one of them leaves no source path, its version is not known.
const DEPENDENCIES_OF_STD: [&str; 10] = [
    "addr2line",
    "adler2",
    "cfg_if",
    "gimli",
    "hashbrown",
    "libc",
    "memchr",
    "miniz_oxide",
    "object",
    "rustc_demangle",
];

/// What shows that a crate is in the linked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// At least one kind of trace, by name.
    Found(Vec<&'static str>),
    /// None, for the reason that release.toml gives.
    None {
        /// The reason.
        reason: String,
    },
}

/// The crates of one linked file, each with its evidence.
///
/// ```compile_fail,E0451
/// fn forge(sha256: store::Digest) -> release::bill::LinkedCrates {
///     release::bill::LinkedCrates {
///         sha256, crates: unreachable!(), evidence: Default::default(), traces: Default::default(), section: Vec::new(),
///     }
/// }
/// ```
#[derive(Debug, Clone)]
pub struct LinkedCrates {
    sha256: Digest,
    pub(crate) crates: Crates,
    pub(crate) evidence: BTreeMap<CrateId, Evidence>,
    pub(crate) traces: Traces,
    /// The content of the section with the list of crates.
    pub(crate) section: Vec<u8>,
}

impl LinkedCrates {
    /// Digest of the file that was read.
    pub fn sha256(&self) -> &Digest {
        &self.sha256
    }

    /// The crates of which something is in the file, and those of which nothing is.
    pub fn counts(&self) -> (usize, usize) {
        let found = self.evidence.values().filter(|one| matches!(one, Evidence::Found(_))).count();
        (found, self.evidence.len() - found)
    }

    /// Packages of the standard library that left symbols and no source path, so no version.
    pub(crate) fn unversioned_of_std(&self) -> Vec<&'static str> {
        let has_path = |name: &str| {
            let packages = self.traces.packages_of_std.iter();
            packages.map(|id| id.name.replace('-', "_")).any(|library| library == name)
        };
        let is_own = |name: &str| self.crates.compiled.values().any(|package| package.library == name);
        DEPENDENCIES_OF_STD
            .into_iter()
            .filter(|name| self.traces.symbols.contains(*name) && !has_path(name) && !is_own(name))
            .collect()
    }

    /// For tests of later stages: the product and nothing else.
    #[cfg(test)]
    pub(crate) fn none(file: &Artifact) -> Self {
        let crates = super::crates::tests::example();
        let evidence = crates.compiled.keys().map(|id| (id.clone(), Evidence::Found(vec!["symbols"])));
        Self {
            sha256: file.sha256().clone(),
            evidence: evidence.collect(),
            crates,
            traces: Traces::default(),
            section: Vec::new(),
        }
    }
}

/// Reads the linked file and compares it with the crates; `section` is the list of them that was linked.
pub(crate) fn require_linked(
    plan: &Plan,
    crates: Crates,
    section: Vec<u8>,
    linked: &Artifact,
) -> anyhow::Result<LinkedCrates> {
    dep_v0::require(linked, &section, StageId::Link.name())?;
    let traces = Traces::read(linked.read()?)?;
    let libraries = library_problems(&plan.native, &traces);
    let evidence = match compare(&crates, &traces, &plan.config.sbom) {
        Ok(evidence) if libraries.is_empty() => evidence,
        result => {
            let problems = result.err().unwrap_or_default().0.into_iter().chain(libraries);
            let problems: Diagnostics = problems.map(|problem| in_linked(problem, linked.path())).collect();
            return Err(problems.into());
        }
    };
    Ok(LinkedCrates { sha256: linked.sha256().clone(), crates, evidence, traces, section })
}

/// A problem of an entry of release.toml keeps its place there.
fn in_linked(problem: Diagnostic, linked: &Path) -> Diagnostic {
    let problem = problem.stage(StageId::Link.name());
    if problem.fields().subject.file.is_some() { problem } else { problem.file(linked) }
}

/// Each vendored library must have defined a function of its build.toml in the file.
fn library_problems(libraries: &[LibraryPlan], traces: &Traces) -> Vec<Diagnostic> {
    libraries
        .iter()
        .filter(|library| functions_of(library, traces).is_empty())
        .map(|library| {
            let functions = expected_functions(library).collect::<Vec<_>>().join(", ");
            Diagnostic::new(&SBOM_NO_EVIDENCE, "the linked file defines no function of a vendored library")
                .rule(&library.name)
                .expected(format!("one of {functions}"))
                .found("none of them")
                .hint("remove the library from release.toml, or correct the functions in its build.toml")
        })
        .collect()
}

/// The functions that build.toml requires of the archive: entry points, and those of the selected kernel sets.
fn expected_functions(library: &LibraryPlan) -> impl Iterator<Item = &str> {
    let build = library.build();
    let sets = library.kernels.iter().filter_map(|name| build.kernels.get(name));
    build.functions.iter().chain(sets.flat_map(|set| &set.functions)).map(String::as_str)
}

/// Those of them that the file defines.
pub(crate) fn functions_of<'a>(library: &'a LibraryPlan, traces: &Traces) -> Vec<&'a str> {
    expected_functions(library).filter(|name| traces.functions.contains(*name)).collect()
}

fn compare(
    crates: &Crates,
    traces: &Traces,
    exceptions: &Sbom,
) -> Result<BTreeMap<CrateId, Evidence>, Diagnostics> {
    let mut problems = Diagnostics::default();
    let mut evidence = BTreeMap::new();
    let mut used = BTreeSet::new();
    for package in crates.compiled.values() {
        let found = traces_of(package, crates, traces);
        let names = [package.id.to_string(), package.id.name.clone()];
        let exception = names.iter().find_map(|name| exceptions.no_trace.get_key_value(name));
        if let Some((name, _)) = exception {
            used.insert(name.as_str());
        }
        match (found.is_empty(), exception) {
            (false, None) => {
                evidence.insert(package.id.clone(), Evidence::Found(found));
            }
            (true, Some((_, reason))) => {
                evidence.insert(package.id.clone(), Evidence::None { reason: reason.value.clone() });
            }
            (false, Some((name, reason))) => problems.push(
                reason
                    .diagnostic(&SBOM_EXCEPTION, format!("the linked file has a trace of `{}`", package.id))
                    .expected(format!("no trace: `sbom.no_trace.{name}` says so"))
                    .found(found.join(", "))
                    .hint("remove the entry from release.toml"),
            ),
            (true, None) => problems.push(
                Diagnostic::new(
                    &SBOM_NO_EVIDENCE,
                    format!("nothing of `{}` is in the linked file", package.id),
                )
                .expected("a symbol of the crate, or a source path of this version")
                .found("neither")
                .hint(format!(
                    "remove the dependency, or add `{} = \"REASON\"` to [sbom.no_trace] of release.toml",
                    package.id.name
                )),
            ),
        }
    }
    for (name, reason) in &exceptions.no_trace {
        if !used.contains(name.as_str()) {
            problems.push(
                reason
                    .diagnostic(&SBOM_EXCEPTION, format!("the product has no crate `{name}`"))
                    .expected("NAME or NAME@VERSION of a crate of the product")
                    .hint("remove the entry from release.toml"),
            );
        }
    }
    problems.extend(unlisted(crates, traces));
    if problems.0.is_empty() { Ok(evidence) } else { Err(problems) }
}

/// The kinds of traces of one crate. A symbol has no version: where two packages have a library of that name, only a source
/// path tells them apart.
fn traces_of(package: &Crate, crates: &Crates, traces: &Traces) -> Vec<&'static str> {
    let is_same = |other: &&Crate| other.library == package.library && other.id != package.id;
    let is_ambiguous = crates.compiled.values().any(|other| is_same(&other))
        || DEPENDENCIES_OF_STD.contains(&package.library.as_str())
        || traces.packages_of_std.iter().any(|other| other.name.replace('-', "_") == package.library);
    let mut found = Vec::new();
    if traces.packages.contains(&package.id) {
        found.push("source-paths");
    }
    if !is_ambiguous && traces.symbols.contains(&package.library) {
        found.push("symbols");
    }
    found
}

/// Code of a crate that cargo did not list.
fn unlisted(crates: &Crates, traces: &Traces) -> Vec<Diagnostic> {
    let packages = traces
        .packages
        .iter()
        .filter(|id| !crates.compiled.contains_key(id))
        .map(|id| (id.to_string(), "a source path"));
    let is_known = |name: &str| {
        STANDARD_LIBRARY.contains(&name)
            || DEPENDENCIES_OF_STD.contains(&name)
            || crates.compiled.values().any(|package| package.library == name)
            || traces.packages_of_std.iter().any(|id| id.name.replace('-', "_") == name)
    };
    let symbols = traces.symbols.iter().filter(|name| !is_known(name)).map(|name| (name.clone(), "a symbol"));
    packages
        .chain(symbols)
        .map(|(name, by)| {
            Diagnostic::new(
                &SBOM_UNLISTED,
                format!("the linked file has code of `{name}`, which cargo does not list for the product"),
            )
            .expected("a crate of the product, or of the standard library")
            .found(by)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use diag::Location;

    use super::*;
    use crate::bill::crates::tests::example;
    use crate::config::Located;

    fn id(name: &str, version: &str) -> CrateId {
        CrateId { name: name.into(), version: version.into() }
    }

    /// `app` by its symbols, `text-lib` by a source path; `macros` leaves no trace.
    fn traces() -> Traces {
        Traces {
            symbols: ["app".into(), "core".into(), "hashbrown".into()].into(),
            packages: [id("text-lib", "2.1.0")].into(),
            packages_of_std: [id("hashbrown", "0.16.1")].into(),
            ..Traces::default()
        }
    }

    fn exceptions(names: &[&str]) -> Sbom {
        let reason = || Located::new("macros".to_owned(), "release.toml", Location { line: 1, column: 1 });
        Sbom { no_trace: names.iter().map(|name| ((*name).to_owned(), reason())).collect() }
    }

    fn codes(result: Result<BTreeMap<CrateId, Evidence>, Diagnostics>) -> Vec<&'static str> {
        result.expect_err("problems").0.iter().map(|problem| problem.code().id).collect()
    }

    #[test]
    fn every_crate_has_a_trace_or_a_reason() {
        for name in ["macros", "macros@0.1.0+meta"] {
            let evidence = compare(&example(), &traces(), &exceptions(&[name])).unwrap();
            assert_eq!(evidence[&id("app", "1.0.0")], Evidence::Found(vec!["symbols"]));
            assert_eq!(evidence[&id("text-lib", "2.1.0")], Evidence::Found(vec!["source-paths"]));
            assert_eq!(evidence[&id("macros", "0.1.0+meta")], Evidence::None { reason: "macros".into() });
        }
    }

    #[test]
    fn rejects_a_crate_without_a_trace() {
        assert_eq!(codes(compare(&example(), &traces(), &exceptions(&[]))), ["sbom-no-evidence"]);
        let mut without = traces();
        without.packages.clear();
        assert_eq!(codes(compare(&example(), &without, &exceptions(&["macros"]))), ["sbom-no-evidence"]);
    }

    #[test]
    fn rejects_an_exception_without_effect() {
        for names in [&["macros", "text-lib"][..], &["macros", "gone"], &["macros", "macros@9.0.0"]] {
            assert_eq!(codes(compare(&example(), &traces(), &exceptions(names))), ["sbom-exception"]);
        }
    }

    #[test]
    fn an_exception_is_reported_at_its_place_in_release_toml() {
        let problems = compare(&example(), &traces(), &exceptions(&["macros", "text-lib"])).unwrap_err();
        let place =
            |problem: Diagnostic| in_linked(problem, Path::new("linked")).fields().subject.file.clone();
        assert_eq!(place(problems.0[0].clone()).unwrap(), Path::new("release.toml"));
        let problems = compare(&example(), &traces(), &exceptions(&[])).unwrap_err();
        assert_eq!(place(problems.0[0].clone()).unwrap(), Path::new("linked"));
    }

    #[test]
    fn rejects_code_of_a_crate_that_is_not_listed() {
        let mut other_version = traces();
        other_version.packages.insert(id("text-lib", "2.0.0"));
        let mut other_crate = traces();
        other_crate.symbols.insert("stranger".into());
        for traces in [other_version, other_crate] {
            assert_eq!(codes(compare(&example(), &traces, &exceptions(&["macros"]))), ["sbom-unlisted"]);
        }
    }

    /// The hash map of the standard library has the symbols of a package that is also on crates.io.
    #[test]
    fn a_symbol_is_no_trace_where_two_packages_have_its_name() {
        let mut crates = example();
        let mut own = crates.compiled[&id("text-lib", "2.1.0")].clone();
        own.id = id("hashbrown", "0.15.0");
        own.library = "hashbrown".into();
        crates.compiled.insert(own.id.clone(), own);
        assert_eq!(codes(compare(&crates, &traces(), &exceptions(&["macros"]))), ["sbom-no-evidence"]);
    }
}
