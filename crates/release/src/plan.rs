//! The Plan: everything that is decided before anything runs. `--plan` prints it; the stages only read it.
//!
//! It has every path, version, digest and flag. [`Plan::new`] does no I/O: [`crate::inputs`] reads what it needs.

mod human;

use std::collections::BTreeMap;
use std::path::PathBuf;

use diag::{Diagnostic, Diagnostics};
use patchset::Vendored;
use serde::Serialize;

use crate::baseline::Baseline;
use crate::codes::OPTION_INVALID;
use crate::config::Config;
use crate::host_env::{Commit, HostEnv};
use crate::library::LibraryPlan;
use crate::resolution::{Resolutions, StdPreference};
use crate::rustflags;
use crate::stage::{STAGES, StageInfo};

/// What the command line chooses.
#[derive(Debug, Default, Clone)]
pub struct CliOptions {
    /// One of the targets of release.toml.
    pub target: Option<String>,
    /// Bound of all parallel work.
    pub jobs: Option<usize>,
    /// The folder of the results.
    pub dist_dir: Option<PathBuf>,
    /// Which Rust standard library.
    pub std: StdPreference,
    /// `dist-manifest.json` of the previous release.
    pub baseline: Option<PathBuf>,
    /// Source archives that are on disk already, by the name of the library.
    pub sources: BTreeMap<String, PathBuf>,
    /// No output but errors and the result.
    pub quiet: bool,
}

/// What was read from disk for a Plan: values, each with its problem if it has one.
#[derive(Debug)]
pub struct PlanInputs {
    /// Version of the workspace.
    pub version: Result<String, Diagnostic>,
    /// The vendor folder of each native library.
    pub vendored: BTreeMap<String, Result<Vendored, Diagnostic>>,
    /// The previous release.
    pub baseline: Option<Result<Baseline, Diagnostic>>,
    /// The folder of the results, absolute.
    pub dist: PathBuf,
    /// Problems of the paths that the command line names.
    pub path_problems: Vec<Diagnostic>,
    /// Where each tool comes from.
    pub tools: Resolutions,
    /// Names of the proofs that run for this configuration.
    pub proofs: Vec<String>,
}

/// A decided run.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Version of this document.
    pub schema: u32,
    /// Version of the product.
    pub version: String,
    /// Target triple.
    pub target: String,
    /// What is built.
    pub commit: Commit,
    /// Bound of all parallel work.
    pub jobs: usize,
    /// Processors of the machine.
    pub cores: usize,
    /// Folders and files.
    pub paths: Paths,
    /// Names in `dist/`.
    pub names: Names,
    /// Flags of the product's compiler and linker.
    pub rustflags: Vec<String>,
    /// Names of the proofs. A report adds one for each of its checks.
    pub proofs: Vec<String>,
    /// Native libraries, in the order of their names.
    pub native: Vec<LibraryPlan>,
    /// Where each tool comes from.
    pub tools: Resolutions,
    /// The stages in their order.
    pub stages: &'static [StageInfo],
    /// release.toml.
    pub config: Config,
    /// What the sizes of this release are compared with.
    pub baseline: Option<Baseline>,
    /// No output but errors and the result.
    #[serde(skip)]
    pub quiet: bool,
}

/// Folders and files of a run.
#[derive(Debug, Serialize)]
pub struct Paths {
    /// The workspace.
    pub root: PathBuf,
    /// The user's cache.
    pub cache: PathBuf,
    /// cargo's target folder.
    pub target: PathBuf,
    /// Logs and stage outputs of the pipeline.
    pub work: PathBuf,
    /// The results.
    pub dist: PathBuf,
    /// The binary as cargo leaves it.
    pub linked: PathBuf,
}

/// Names in `dist/`.
#[derive(Debug, Clone, Serialize)]
pub struct Names {
    /// The packed binary.
    pub packed: String,
    /// The stripped binary.
    pub unpacked: String,
    /// The debug file.
    pub debug: String,
    /// The image for `docker load`.
    pub docker_tar: String,
    /// The image as an OCI layout.
    pub oci_tar: String,
    /// The policy of the gate, with which the files can be judged again.
    pub policy: String,
    /// The bill of materials as CycloneDX.
    pub cyclonedx: String,
    /// The bill of materials as SPDX.
    pub spdx: String,
    /// Digests of all files.
    pub sums: String,
    /// The manifest.
    pub manifest: String,
}

impl Names {
    fn new(product: &str, version: &str, target: &str) -> Self {
        let stem = format!("{product}-{version}-{target}");
        Self {
            unpacked: format!("{stem}.unpacked"),
            debug: format!("{stem}.debug"),
            docker_tar: format!("{stem}.docker.tar"),
            oci_tar: format!("{stem}.oci.tar"),
            cyclonedx: format!("{stem}.cdx.json"),
            spdx: format!("{stem}.spdx.json"),
            packed: stem,
            policy: elf_gate::policy::POLICY_FILE_NAME.into(),
            sums: "SHA256SUMS".into(),
            manifest: "dist-manifest.json".into(),
        }
    }
}

impl CliOptions {
    /// The target of a run, whether or not it is released.
    pub fn target<'a>(&'a self, config: &'a Config) -> &'a str {
        self.target.as_deref().unwrap_or(&config.product.targets[0])
    }

    /// Bound of all parallel work.
    pub fn jobs(&self, host: &HostEnv) -> usize {
        self.jobs.unwrap_or(host.cores).max(1)
    }
}

impl Plan {
    /// Decides everything; all contradictions are reported together.
    pub fn new(
        config: Config,
        host: &HostEnv,
        options: &CliOptions,
        inputs: PlanInputs,
    ) -> anyhow::Result<Plan> {
        let mut problems = host.problems();
        let target = options.target(&config).to_owned();
        if !config.product.targets.contains(&target) {
            problems.push(
                Diagnostic::new(&OPTION_INVALID, format!("release.toml does not release for `{target}`"))
                    .expected(config.product.targets.join(", "))
                    .found(target.as_str())
                    .hint(format!("cargo xtask dist --target {}", config.product.targets[0])),
            );
        }
        let rustflags = rustflags::of_product(config.stack_size, host);
        let native = native(&config, options, inputs.vendored, &mut problems);
        let version = or_problem(inputs.version, &mut problems).unwrap_or_default();
        problems.extend(inputs.path_problems);
        let baseline = inputs.baseline.and_then(|baseline| or_problem(baseline, &mut problems));
        let is_of = baseline.as_ref().map(|baseline| baseline.is_of(&config.product.name, &target));
        problems.extend(is_of.and_then(Result::err));
        Diagnostics(problems).into_result()?;

        let names = Names::new(&config.product.name, &version, &target);
        let (root, cargo_target) = (host.root.clone(), host.root.join("target"));
        Ok(Plan {
            schema: 2,
            stages: &STAGES,
            paths: Paths {
                linked: cargo_target.join(&target).join("release").join(&config.product.name),
                work: cargo_target.join("muslin").join(&target),
                target: cargo_target,
                cache: host.cache_dir.clone(),
                dist: inputs.dist,
                root,
            },
            commit: host.commit.clone(),
            jobs: options.jobs(host),
            proofs: inputs.proofs,
            cores: host.cores,
            quiet: options.quiet,
            tools: inputs.tools,
            baseline,
            version,
            target,
            names,
            rustflags,
            native,
            config,
        })
    }

    /// Whether every tool is present or can be downloaded; all missing ones are reported together.
    pub fn check_tools(&self) -> anyhow::Result<()> {
        Diagnostics(self.tools.problems()).into_result()
    }

    /// The libraries of these names, or all when none is named.
    pub fn libraries(&self, names: &[String]) -> anyhow::Result<Vec<&LibraryPlan>> {
        let known = || self.native.iter().map(|library| library.name.as_str()).collect::<Vec<_>>().join(", ");
        for name in names {
            if !self.native.iter().any(|library| library.name == *name) {
                return Err(Diagnostic::new(
                    &OPTION_INVALID,
                    "release.toml has no native library of this name",
                )
                .expected(known())
                .found(name.as_str())
                .hint("`cargo xtask build-native` without a name builds all of them")
                .into());
            }
        }
        Ok(self.native.iter().filter(|library| names.is_empty() || names.contains(&library.name)).collect())
    }

    /// The log of a native build.
    pub fn log(&self, name: &str) -> PathBuf {
        self.paths.work.join("logs").join(format!("{name}.log"))
    }
}

fn or_problem<T>(result: Result<T, Diagnostic>, problems: &mut Vec<Diagnostic>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

fn native(
    config: &Config,
    options: &CliOptions,
    mut vendored: BTreeMap<String, Result<Vendored, Diagnostic>>,
    problems: &mut Vec<Diagnostic>,
) -> Vec<LibraryPlan> {
    for name in options.sources.keys().filter(|name| !config.native.contains_key(*name)) {
        let known: Vec<&str> = config.native.keys().map(String::as_str).collect();
        problems.push(
            Diagnostic::new(
                &OPTION_INVALID,
                format!("`--source {name}=…` names a library that release.toml lacks"),
            )
            .expected(known.join(", "))
            .found(name.as_str()),
        );
    }
    let mut libraries = Vec::new();
    for (name, choices) in &config.native {
        match vendored.remove(name) {
            None => {}
            Some(Err(problem)) => problems.push(problem),
            Some(Ok(vendored)) => match LibraryPlan::new(name, choices, vendored, config.stack_size) {
                Ok(library) => libraries.push(library),
                Err(found) => problems.extend(found),
            },
        }
    }
    libraries
}

#[cfg(test)]
mod tests;
