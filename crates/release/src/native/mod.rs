//! Vendored C libraries as static archives: fetched, verified file by file, patched between guards, compiled once per
//! fingerprint. Which libraries there are, how each is compiled and what its archive must show is data: `[native.NAME]` of
//! release.toml and the library's own folder.
//!
//! A build starts from an empty folder and appears under its fingerprint only when every check of the archive has passed,
//! so there is no old tree to continue and no half-built one to find.

mod choices;
mod compile;
mod judge;
mod progress;
pub mod repeat;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use object::{Object, ObjectSymbol};
use serde::Serialize;

pub use self::choices::LibraryPlan;
use self::compile::{Circumstances, Yard};
use crate::artifact::Artifact;
use crate::jobs::Jobs;
use crate::plan::Plan;
use crate::toolchain::{Site, Toolchain};
use diag::Diagnostics;
use patchset::build::Recipe;
use patchset::liveness::{self, LivenessReport};
use patchset::{Input, Prepared};
use process::{CpuTime, Task};
use store::Record;
use store::{Digest, Fingerprint};

/// A checked archive of native code.
#[derive(Debug, Clone, Serialize)]
pub struct StaticLib {
    pub name: String,
    pub version: String,
    pub licence: String,
    pub fingerprint: Digest,
    /// Holds the archive; the build script of its crate is told this folder.
    #[serde(skip)]
    pub folder: PathBuf,
    pub archive: Artifact,
    pub patches: Vec<String>,
    /// Each link that was checked in the object code.
    pub proofs: Vec<String>,
    /// What was shown of each patch when the archive was built.
    pub liveness: Vec<LivenessReport>,
    /// Seconds of the build's steps, in the run that made it.
    #[serde(skip)]
    pub times: Vec<String>,
    pub reused: bool,
}

pub const COMPILE_LOG: &str = "compile.log";

/// What goes in, in words and digests.
pub fn fingerprint(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    library: &LibraryPlan,
) -> anyhow::Result<Fingerprint> {
    let mut fingerprint = Fingerprint::default();
    fingerprint
        .part("recipe", 4)
        .part(
            "environment",
            compile::environment(site)
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
                .join("\n"),
        )
        .part("target", &plan.target)
        .part("vendor", &library.vendor_digest)
        .part("build.toml", Digest::of(library.build().to_json()?.as_bytes()))
        .part("options", library.options.join("\n"))
        .part("zig", &toolchain.zig.version)
        .part("zig sha256", &toolchain.zig.sha256)
        .part("wrappers", &toolchain.wrappers.sha256);
    if let Recipe::Make { .. } = library.build().recipe {
        // The machine's own compiler makes the programs that write the configuration.
        for tool in [&toolchain.make, &toolchain.host_cc] {
            fingerprint.part(tool.name, &tool.version).part(&format!("{} sha256", tool.name), &tool.sha256);
        }
    }
    Ok(fingerprint)
}

/// Where the library is or will be: cargo is told before it exists, since the folder's name depends on inputs only.
pub fn folder(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    library: &LibraryPlan,
) -> anyhow::Result<PathBuf> {
    Ok(site.store.entry_path(&entry_name(library, &fingerprint(plan, site, toolchain, library)?.digest())))
}

fn entry_name(library: &LibraryPlan, fingerprint: &Digest) -> String {
    format!("native/{}-{}", library.name, fingerprint.short())
}

/// The variable by which the build script of its crate learns the folder.
pub fn variable(library: &LibraryPlan) -> String {
    format!("MUSLIN_NATIVE_{}_DIR", library.name.to_uppercase())
}

/// Every library of the plan, in the order of their names.
pub fn build_all(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    jobs: &Jobs,
) -> anyhow::Result<Vec<StaticLib>> {
    plan.native.iter().map(|library| build(plan, site, toolchain, jobs, library)).collect()
}

pub fn build(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    jobs: &Jobs,
    library: &LibraryPlan,
) -> anyhow::Result<StaticLib> {
    let what = fingerprint(plan, site, toolchain, library)?;
    let digest = what.digest();
    let entry = site.store.get_or_create(&entry_name(library, &digest), |staging| {
        let mut record = make(plan, site, toolchain, jobs, library, staging, &Circumstances::default())?;
        std::fs::write(staging.join("fingerprint.txt"), what.listing())?;
        record.set_note("patches", library.patches.join("\n"));
        Ok(record)
    })?;
    let lines = |name: &str| {
        entry.record.notes.get(name).map_or("", String::as_str).lines().map(String::from).collect()
    };
    let archive = &library.build().archive;
    Ok(StaticLib {
        name: library.name.clone(),
        version: library.version.clone(),
        licence: library.licence.clone(),
        fingerprint: digest,
        archive: Artifact {
            size_bytes: entry.path.join(archive).metadata()?.len(),
            sha256: entry.record.files[archive].clone(),
            path: entry.path.join(archive),
        },
        patches: lines("patches"),
        proofs: lines("proofs"),
        liveness: serde_json::from_str(entry.record.notes.get("liveness").map_or("[]", String::as_str))?,
        times: lines("times"),
        folder: entry.path,
        reused: entry.reused,
    })
}

/// A whole build in an empty folder, with every check. What stays in `staging` is the archive, the log and the files that
/// tests need.
fn make(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    jobs: &Jobs,
    library: &LibraryPlan,
    staging: &Path,
    circumstances: &Circumstances,
) -> anyhow::Result<Record> {
    let mut steps = Steps::default();
    let tree = staging.join("tree");
    let log = plan.log(&library.name);
    let yard = Yard {
        site,
        toolchain,
        jobs,
        library,
        circumstances,
        staging,
        tree: &tree,
        log: &log,
        quiet: plan.quiet,
    };
    let prepared = steps.time("prepare", || prepare(site, library, &tree))?;
    let archive = steps.time("compile", || yard.compile())?;
    let bytes = crate::artifact::read(&archive)?;
    let proofs = steps
        .time("judge", || judge::judge(library, &tree, &bytes, &machine_paths(plan, site, staging), &log))?;
    for name in &library.build().keep_files {
        std::fs::copy(tree.join(name), staging.join(name)).with_context(|| format!("keeping {name}"))?;
    }
    std::fs::copy(&log, staging.join(COMPILE_LOG)).context("keeping the log of the build")?;
    let reports = steps.time("liveness", || verify_liveness(&yard, &prepared))?;
    std::fs::remove_dir_all(&tree).context("removing the build tree")?;
    std::fs::remove_dir_all(staging.join("zig-cache")).ok();
    std::fs::remove_file(staging.join("delaying-cc")).ok();
    let mut record = Record::default();
    record.add_file(staging, &library.build().archive)?.set_note("proofs", proofs.join("\n"));
    record.set_note("liveness", serde_json::to_string(&reports)?);
    record.set_note("times", steps.0.join("\n"));
    Ok(record)
}

/// Wall and processor time of the steps, for people who ask where the time goes.
#[derive(Default)]
struct Steps(Vec<String>);

impl Steps {
    fn time<T>(&mut self, step: &str, work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
        let (started, cpu) = (Instant::now(), CpuTime::now());
        let result = work()?;
        let (wall, cpu) = (started.elapsed().as_secs_f64(), CpuTime::now().since(cpu).as_secs_f64());
        self.0.push(format!("{step} {wall:.2} s, children {cpu:.2} CPU s"));
        Ok(result)
    }
}

/// Folders that no object may name. A short one, such as `/`, would be found in anything.
fn machine_paths(plan: &Plan, site: &Site, staging: &Path) -> Vec<String> {
    let home = site.environment.get("HOME").map(PathBuf::from);
    [Some(staging.to_path_buf()), Some(plan.paths.root.clone()), Some(plan.paths.cache.clone()), home]
        .into_iter()
        .flatten()
        .map(|path| path.display().to_string())
        .filter(|path| path.len() > 3)
        .collect()
}

/// The tarball: the one that was named, or one from the cache, fetched if it is not there.
pub fn fetch_source(site: &Site, library: &LibraryPlan) -> anyhow::Result<PathBuf> {
    match &library.source {
        Some(path) => Ok(path.clone()),
        None => crate::sources::tarball(site, &library.vendored.manifest),
    }
}

fn prepare(site: &Site, library: &LibraryPlan, tree: &Path) -> anyhow::Result<Prepared> {
    let tarball = fetch_source(site, library)?;
    site.runner.check()?;
    library.vendored.prepare(Input::Tarball(&tarball), tree)
}

/// Shows that every patch is compiled; see [`liveness`].
fn verify_liveness(yard: &Yard<'_>, prepared: &Prepared) -> anyhow::Result<Vec<LivenessReport>> {
    let log = std::fs::read_to_string(yard.log).context("reading the log of the build")?;
    let run = |folder: &Path, line: &str| {
        let mut shell = yard.command(Path::new("sh"));
        shell.arg("-c").arg(line).current_dir(folder);
        yard.site.runner.run(Task::new("compile a patched file again", shell)).map(|_| ())
    };
    let (reports, violations) = liveness::verify(&prepared.steps, &log, yard.tree, &run)?;
    Diagnostics(violations).into_result().context("checking whether each patch is live in this build")?;
    Ok(reports)
}

/// The last link before the behavioural tests: the functions of the guards are in the linked file.
pub fn require_linked(libraries: &[StaticLib], linked: &Path) -> anyhow::Result<()> {
    let bytes = crate::artifact::read(linked)?;
    let file = object::File::parse(&*bytes).with_context(|| format!("reading {}", linked.display()))?;
    let names: std::collections::BTreeSet<&str> =
        file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    let reports = libraries.iter().flat_map(|library| &library.liveness);
    Diagnostics(liveness::linked_violations(reports, &names))
        .into_result()
        .with_context(|| format!("checking the patches in {}", linked.display()))
}

#[cfg(test)]
mod tests;
