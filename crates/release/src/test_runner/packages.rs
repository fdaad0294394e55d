//! Which packages of the workspace ship: `product.package` and what it is built from. All others are tested on the build
//! machine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;

use super::WORKSPACE_UNREADABLE;
use crate::context::BuildContext;
use crate::plan::Plan;
use diag::Diagnostic;
use process::Task;

/// The packages of the workspace, by their role.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Packages {
    /// In the dependency closure of `product.package`.
    pub product: BTreeSet<String>,
    /// Those of them that have a library, and so documentation tests.
    pub product_libraries: BTreeSet<String>,
    host: usize,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev` or `build`; nothing for a normal one.
    kind: Option<String>,
    /// Only packages of the workspace have one here.
    path: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    kind: Vec<String>,
}

impl Packages {
    /// Runs `cargo metadata`, which needs no network for the packages of the workspace.
    pub(super) fn read(plan: &Plan, context: &BuildContext) -> anyhow::Result<Self> {
        let mut cargo = context.command("cargo");
        cargo.current_dir(&plan.paths.root).args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ]);
        let output = context.runner.run(Task::new("describe the workspace", cargo))?;
        let metadata = serde_json::from_slice(&output.stdout)
            .map_err(|error| Diagnostic::new(&WORKSPACE_UNREADABLE, error.to_string()))?;
        Self::new(&metadata, &plan.config.product.package)
    }

    fn new(metadata: &Metadata, root: &str) -> anyhow::Result<Self> {
        let packages: BTreeMap<&str, &Package> =
            metadata.packages.iter().map(|package| (package.name.as_str(), package)).collect();
        if !packages.contains_key(root) {
            let known: Vec<&str> = packages.keys().copied().collect();
            return Err(Diagnostic::new(
                &WORKSPACE_UNREADABLE,
                "`product.package` is no package of the workspace",
            )
            .expected(known.join(", "))
            .found(root)
            .into());
        }
        let mut product = BTreeSet::new();
        let mut waiting = vec![root];
        while let Some(name) = waiting.pop() {
            let Some(package) = packages.get(name) else { continue };
            if product.insert(name.to_string()) {
                let ships = |dependency: &&Dependency| {
                    dependency.path.is_some() && dependency.kind.as_deref() != Some("dev")
                };
                waiting.extend(package.dependencies.iter().filter(ships).map(|d| d.name.as_str()));
            }
        }
        let is_library = |name: &&String| {
            let library = ["lib", "rlib", "proc-macro"];
            let kinds = packages[name.as_str()].targets.iter().flat_map(|target| &target.kind);
            kinds.into_iter().any(|kind| library.contains(&kind.as_str()))
        };
        Ok(Self {
            product_libraries: product.iter().filter(is_library).cloned().collect(),
            host: packages.len() - product.len(),
            product,
        })
    }

    /// Whether a package remains that does not ship.
    pub(super) fn has_host_packages(&self) -> bool {
        self.host > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata() -> Metadata {
        serde_json::from_str(
            r#"{"packages": [
                {"name": "app", "targets": [{"kind": ["bin"]}], "dependencies": [
                    {"name": "core", "kind": null, "path": "/w/core"},
                    {"name": "gen", "kind": "build", "path": "/w/gen"},
                    {"name": "harness", "kind": "dev", "path": "/w/harness"},
                    {"name": "serde", "kind": null}]},
                {"name": "core", "targets": [{"kind": ["lib"]}], "dependencies": [
                    {"name": "sys", "kind": null, "path": "/w/sys"}]},
                {"name": "sys", "targets": [{"kind": ["rlib"]}, {"kind": ["custom-build"]}], "dependencies": []},
                {"name": "gen", "targets": [{"kind": ["lib"]}], "dependencies": []},
                {"name": "harness", "targets": [{"kind": ["lib"]}], "dependencies": []},
                {"name": "xtask", "targets": [{"kind": ["bin"]}], "dependencies": []}]}"#,
        )
        .unwrap()
    }

    #[test]
    fn the_product_is_the_closure_without_development_dependencies() {
        let packages = Packages::new(&metadata(), "app").unwrap();
        assert_eq!(packages.product.into_iter().collect::<Vec<_>>(), ["app", "core", "gen", "sys"]);
        assert_eq!(packages.product_libraries.into_iter().collect::<Vec<_>>(), ["core", "gen", "sys"]);
        assert_eq!(packages.host, 2);
    }

    #[test]
    fn an_unknown_package_is_refused() {
        let error = Packages::new(&metadata(), "none").unwrap_err();
        assert!(diag::has_code(&error, &WORKSPACE_UNREADABLE), "{error}");
    }
}
