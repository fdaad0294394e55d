//! The crates of the product as cargo resolves them for the target: those that are compiled for it, and those that run on the
//! build machine meanwhile (build scripts, procedural macros and what they use).
//!
//! `cargo tree` and not `cargo metadata`: only the former resolves features for one package and one target, so an optional
//! dependency of another member of the workspace is not in the list.

use std::collections::{BTreeMap, BTreeSet};

use diag::Diagnostic;
use process::Task;
use serde::Deserialize;

use crate::codes::SBOM_CRATES;
use crate::context::BuildContext;
use crate::plan::Plan;
use crate::resolution::Rust;

/// A package by name and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrateId {
    /// Name of the package.
    pub name: String,
    /// Version.
    pub version: String,
}

impl std::fmt::Display for CrateId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

/// A package of the resolution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// Name and version.
    pub id: CrateId,
    /// Name of its library in code; symbols have this name.
    pub library: String,
    /// SPDX expression, if the package declares one.
    pub licence: Option<String>,
    /// Address of its repository.
    pub repository: Option<String>,
    /// Source of Cargo.lock; `None` for a package of the workspace.
    pub source: Option<String>,
    /// Digest of the `.crate` file.
    pub sha256: Option<String>,
    /// Enabled features.
    pub features: Vec<String>,
    /// The packages that it uses.
    pub depends_on: BTreeSet<CrateId>,
}

/// The resolution for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crates {
    /// The package of the binary.
    pub root: CrateId,
    /// Compiled for the target, the root included.
    pub compiled: BTreeMap<CrateId, Crate>,
    /// Only compiled for the build machine.
    pub build: BTreeMap<CrateId, Crate>,
    /// What each of both uses, code generators included.
    pub edges: BTreeMap<CrateId, BTreeSet<CrateId>>,
}

/// Fields of a line after its depth. cargo prints no control characters; a name or an address with a `|` is an error, not another
/// field.
const FORMAT: &str = "|{p}|{lib}|{l}|{r}|{f}";

impl Crates {
    /// Asks the cargo of the build, in the folder of the workspace.
    pub fn read(plan: &Plan, context: &BuildContext, rust: &Rust) -> anyhow::Result<Self> {
        let tree = |edges: &str| -> anyhow::Result<String> {
            let mut cargo = context.command(&rust.cargo);
            cargo
                .current_dir(&plan.paths.root)
                .args(["tree", "--locked", "--quiet", "--prefix", "depth", "--format", FORMAT])
                .args(["--package", &plan.config.product.package, "--target", &plan.target])
                .args(["--edges", edges])
                .env("RUSTC", &rust.rustc);
            if context.offline {
                cargo.arg("--offline");
            }
            let output = context.runner.run(Task::new("list the crates of the product", cargo))?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let path = plan.paths.root.join("Cargo.lock");
        let lock = std::fs::read_to_string(&path).map_err(|error| {
            Diagnostic::new(&SBOM_CRATES, "Cargo.lock cannot be read").file(&path).cause(error)
        })?;
        Self::parse(&tree("normal,no-proc-macro")?, &tree("normal,build")?, &lock)
    }

    /// `compiled` and `all` are outputs of `cargo tree`, without and with what runs on the build machine.
    fn parse(compiled: &str, all: &str, lock: &str) -> anyhow::Result<Self> {
        let lock: Lock = toml::from_str(lock).map_err(|error| {
            Diagnostic::new(&SBOM_CRATES, "Cargo.lock has another form than expected").cause(error)
        })?;
        let (root, compiled) = read_tree(compiled, &lock)?;
        let (_, mut build) = read_tree(all, &lock)?;
        let edges = build.values().map(|package| (package.id.clone(), package.depends_on.clone())).collect();
        build.retain(|id, _| !compiled.contains_key(id));
        // Edges to packages of the other list: a code generator may use what the program uses too.
        for package in build.values_mut() {
            package.depends_on.clear();
        }
        Ok(Self { root, compiled, build, edges })
    }
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<LockedPackage>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
}

fn read_tree(text: &str, lock: &Lock) -> anyhow::Result<(CrateId, BTreeMap<CrateId, Crate>)> {
    let mut crates: BTreeMap<CrateId, Crate> = BTreeMap::new();
    // The package at each depth above the current line.
    let mut path: Vec<CrateId> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let unexpected =
            || Diagnostic::new(&SBOM_CRATES, "a line of `cargo tree` has another form").found(line);
        let fields: Vec<&str> = line.split('|').collect();
        let [depth, package, library, licence, repository, features] = fields[..] else {
            return Err(unexpected().into());
        };
        let depth: usize = depth.trim().parse().map_err(|_| unexpected())?;
        // `NAME vVERSION`, then a folder or `(proc-macro)`.
        let mut words = package.split(' ');
        let (Some(name), Some(version)) =
            (words.next(), words.next().and_then(|word| word.strip_prefix('v')))
        else {
            return Err(unexpected().into());
        };
        if depth > path.len() {
            return Err(unexpected().into());
        }
        let id = CrateId { name: name.into(), version: version.into() };
        path.truncate(depth);
        if let Some(user) = path.last().and_then(|user| crates.get_mut(user)) {
            user.depends_on.insert(id.clone());
        }
        path.push(id.clone());
        if crates.contains_key(&id) {
            continue;
        }
        let locked =
            lock.package.iter().find(|locked| locked.name == id.name && locked.version == id.version);
        let locked = locked.ok_or_else(|| {
            Diagnostic::new(&SBOM_CRATES, "Cargo.lock lacks a package of `cargo tree`").found(id.to_string())
        })?;
        let text = |field: &str| (!field.is_empty()).then(|| field.to_owned());
        let package = Crate {
            // Empty for a package with a binary only.
            library: text(library).unwrap_or_else(|| id.name.replace('-', "_")),
            licence: sbom::spdx_expression(licence),
            repository: text(repository),
            source: locked.source.clone(),
            sha256: locked.checksum.clone(),
            // ` (*)` marks a package whose dependencies are listed above.
            features: features
                .trim_end_matches(" (*)")
                .split(',')
                .filter(|feature| !feature.is_empty())
                .map(String::from)
                .collect(),
            depends_on: BTreeSet::new(),
            id: id.clone(),
        };
        crates.insert(id, package);
    }
    let root = path
        .into_iter()
        .next()
        .ok_or_else(|| Diagnostic::new(&SBOM_CRATES, "`cargo tree` lists no package of the product"))?;
    Ok((root, crates))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const LOCK: &str = r#"
        version = 4
        [[package]]
        name = "app"
        version = "1.0.0"
        [[package]]
        name = "text-lib"
        version = "2.1.0"
        source = "registry+https://github.com/rust-lang/crates.io-index"
        checksum = "aa"
        [[package]]
        name = "macros"
        version = "0.1.0+meta"
        source = "registry+https://github.com/rust-lang/crates.io-index"
        [[package]]
        name = "generator"
        version = "0.4.0"
    "#;

    fn line(depth: usize, rest: &str) -> String {
        format!("{depth}|{rest}\n")
    }

    fn compiled() -> String {
        line(0, "app v1.0.0 (/w/app)|app|Apache-2.0 OR MIT||")
            + &line(1, "macros v0.1.0+meta|macros|||")
            + &line(1, "text-lib v2.1.0|text|MIT/Apache-2.0|https://example.org/text|default,std")
            + &line(2, "macros v0.1.0+meta|macros||| (*)")
    }

    /// The packages that other modules test with.
    pub(crate) fn example() -> Crates {
        let all = compiled() + &line(1, "generator v0.4.0 (proc-macro)|generator|MIT||");
        Crates::parse(&compiled(), &all, LOCK).unwrap()
    }

    #[test]
    fn reads_packages_edges_and_what_runs_on_the_build_machine() {
        let crates = example();
        let names =
            |list: &BTreeMap<CrateId, Crate>| list.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&crates.compiled), ["app@1.0.0", "macros@0.1.0+meta", "text-lib@2.1.0"]);
        assert_eq!(names(&crates.build), ["generator@0.4.0"]);
        assert_eq!(crates.root.to_string(), "app@1.0.0");
        let used = |name: &str| -> Vec<String> {
            let package = crates.compiled.values().find(|package| package.id.name == name).unwrap();
            package.depends_on.iter().map(ToString::to_string).collect()
        };
        assert_eq!(used("app"), ["macros@0.1.0+meta", "text-lib@2.1.0"]);
        assert_eq!(used("text-lib"), ["macros@0.1.0+meta"]);
        let text = crates.compiled.values().find(|package| package.library == "text").unwrap();
        assert_eq!(text.licence.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!((text.sha256.as_deref(), text.features.join(",")), (Some("aa"), "default,std".into()));
    }

    #[test]
    fn rejects_output_of_another_form_and_a_package_that_is_not_locked() {
        let depth = line(0, "app v1.0.0|app|||") + &line(2, "macros v0.1.0+meta|macros|||");
        for (what, tree) in [
            ("nothing", String::new()),
            ("a warning", "warning: something\n".into()),
            ("a missing level", depth),
            ("no version", line(0, "app|app|||")),
            ("not in Cargo.lock", line(0, "app v1.0.1|app|||")),
        ] {
            let error = Crates::parse(&tree, &tree, LOCK).expect_err(what);
            assert!(diag::has_code(&error, &SBOM_CRATES), "{what}: {error:#}");
        }
    }
}
