//! Stage `native`: vendored C libraries as static archives: verified file by file, patched between guards, compiled once per
//! fingerprint, while cargo compiles the Rust libraries. The libraries, their recipes and the checks of their archives are
//! data: `[native.NAME]` of release.toml and the vendor folder.
//!
//! A build starts in an empty folder, and the entry gets its name only when every check of the archive has passed: no old
//! tree is continued, and no incomplete one can be found.

mod archive_checks;
mod compile;
mod library;
mod linked;
mod progress;
pub mod repeat;

use std::path::{Path, PathBuf};

use anyhow::Context;
use diag::{Diagnostic, Diagnostics};
use patchset::liveness;
use patchset::{Input, Prepared};
use process::Task;
use store::Record;

pub(crate) use self::compile::{BuildVariation, NativeBuild};
pub use self::library::StaticLib;
use self::library::{BuildReport, StepTime};
pub use self::linked::{PatchesLinked, require_linked};
use crate::cargo;
use crate::codes::SOURCE_MISSING;
use crate::context::BuildContext;
use crate::library::LibraryPlan;
use crate::native_inputs::NativeInputs;
use crate::plan::{Paths, Plan};
use crate::stages::sources::{SourceState, Sources};
use crate::stages::toolchain::{Toolchain, warm_linker};

/// Name of the compile log in a cache entry.
pub const COMPILE_LOG: &str = "compile.log";

/// All native libraries, each with a checked archive.
///
/// ```compile_fail,E0451
/// use release::stages::{native::NativeLibs, toolchain::Toolchain};
/// fn forge(toolchain: Toolchain) -> NativeLibs {
///     NativeLibs { toolchain, inputs: Vec::new(), libraries: Vec::new() }
/// }
/// ```
#[derive(Debug)]
pub struct NativeLibs {
    toolchain: Toolchain,
    inputs: Vec<NativeInputs>,
    libraries: Vec<StaticLib>,
}

impl NativeLibs {
    /// The tools.
    pub fn toolchain(&self) -> &Toolchain {
        &self.toolchain
    }

    /// The inputs of each library, in the order of the Plan.
    pub fn inputs(&self) -> &[NativeInputs] {
        &self.inputs
    }

    /// The libraries, in the order of the Plan.
    pub fn libraries(&self) -> &[StaticLib] {
        &self.libraries
    }

    /// Without libraries, for tests of later stages.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { toolchain: Toolchain::of_machine("cc".into()), inputs: Vec::new(), libraries: Vec::new() }
    }
}

/// Compiles the native libraries and the Rust libraries in parallel; both take tokens from one pool. The first failure
/// cancels the others. When every native library is compiled already, cargo compiles the Rust libraries with the link.
pub fn build(plan: &Plan, context: &BuildContext, sources: Sources) -> anyhow::Result<NativeLibs> {
    if sources.is_all_compiled() {
        return build_libraries(plan, context, sources);
    }
    let context = &context.child_scope();
    let mut rust = cargo::command(plan, context, sources.toolchain(), sources.inputs(), "build")?;
    rust.args(["--package", &plan.config.product.package, "--lib"]);
    let wrappers = sources.toolchain().wrappers().clone();
    std::thread::scope(|scope| {
        let rust =
            scope.spawn(|| or_cancel(context, cargo::run(plan, context, rust, "compile the Rust libraries")));
        let linker = scope.spawn(|| or_cancel(context, warm_linker(context, &wrappers, &context.jobs)));
        let native = or_cancel(context, build_libraries(plan, context, sources));
        let joined = "a compiling thread does not panic";
        let (rust, linker) = (rust.join().expect(joined), linker.join().expect(joined));
        // Of several failures the native one is reported: its fix is the least obvious. A cancelled task has not failed.
        let failures = [rust.err(), linker.err()].into_iter().flatten();
        match native {
            Ok(native) => failures.min_by_key(is_cancelled).map_or(Ok(native), Err),
            Err(error) => {
                Err(std::iter::once(error).chain(failures).min_by_key(is_cancelled).expect("one failure"))
            }
        }
    })
}

fn is_cancelled(error: &anyhow::Error) -> bool {
    diag::has_code(error, &process::CANCELLED)
}

fn or_cancel<T>(context: &BuildContext, result: anyhow::Result<T>) -> anyhow::Result<T> {
    if result.is_err() {
        context.runner.cancel();
    }
    result
}

fn build_libraries(plan: &Plan, context: &BuildContext, sources: Sources) -> anyhow::Result<NativeLibs> {
    let (toolchain, inputs, states) = sources.into_parts();
    let libraries = plan
        .native
        .iter()
        .zip(&inputs)
        .zip(&states)
        .map(|((library, inputs), state)| match state {
            SourceState::Compiled(entry) => StaticLib::from_entry(library, inputs, entry),
            SourceState::Archive(archive) => {
                build_one(plan, context, &toolchain, library, inputs, Some(archive.as_path()))
            }
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(NativeLibs { toolchain, inputs, libraries })
}

/// One library for itself: from the cache, or compiled from the source archive that `archive` returns.
pub fn build_alone(
    plan: &Plan,
    context: &BuildContext,
    toolchain: &Toolchain,
    library: &LibraryPlan,
    inputs: &NativeInputs,
    archive: impl FnOnce() -> anyhow::Result<PathBuf>,
) -> anyhow::Result<StaticLib> {
    if context.store.find(inputs.entry()).is_some() {
        return build_one(plan, context, toolchain, library, inputs, None);
    }
    build_one(plan, context, toolchain, library, inputs, Some(&archive()?))
}

/// One library, from the cache or compiled from its source archive.
pub(crate) fn build_one(
    plan: &Plan,
    context: &BuildContext,
    toolchain: &Toolchain,
    library: &LibraryPlan,
    inputs: &NativeInputs,
    archive: Option<&Path>,
) -> anyhow::Result<StaticLib> {
    let entry = context.store.get_or_create(inputs.entry(), |staging| {
        let archive = archive.ok_or_else(|| {
            Diagnostic::new(&SOURCE_MISSING, format!("{} changed in the cache during the run", library.name))
                .hint("run the command again")
        })?;
        let build = NativeBuild {
            context,
            toolchain,
            inputs,
            library,
            jobs: &context.jobs,
            variation: &BuildVariation::default(),
            staging,
            tree: &staging.join("tree"),
            log: &plan.log(&library.name),
        };
        std::fs::write(staging.join("fingerprint.txt"), inputs.listing())
            .context("writing the fingerprint")?;
        make(plan, &build, archive)
    })?;
    StaticLib::from_entry(library, inputs, &entry)
}

/// A whole build in an empty folder, with every check. The staging folder keeps the archive, the log, the report and the
/// files that tests need.
fn make(plan: &Plan, build: &NativeBuild<'_>, archive: &Path) -> anyhow::Result<Record> {
    let NativeBuild { library, staging, tree, log, .. } = *build;
    let mut steps = Vec::new();
    let prepared = StepTime::measure(&mut steps, "prepare", || prepare(build, archive))?;
    let object_archive = StepTime::measure(&mut steps, "compile", || build.compile())?;
    let bytes = crate::artifact::read(&object_archive)?;
    let paths = machine_paths(&plan.paths, build);
    let proofs =
        StepTime::measure(&mut steps, "check", || archive_checks::check(library, tree, &bytes, &paths, log))?;
    for name in &library.build().keep_files {
        std::fs::copy(tree.join(name), staging.join(name)).with_context(|| format!("keeping {name}"))?;
    }
    std::fs::copy(log, staging.join(COMPILE_LOG)).context("keeping the log of the build")?;
    let liveness = StepTime::measure(&mut steps, "liveness", || verify_liveness(build, &prepared))?;
    std::fs::remove_dir_all(tree).context("removing the build tree")?;
    let _ = std::fs::remove_dir_all(staging.join("zig-cache"));
    let _ = std::fs::remove_file(staging.join("delaying-cc"));
    let mut record = Record::default();
    record.add_file(staging, &library.build().archive)?;
    let patches = library.patches.clone();
    BuildReport { patches, proofs, liveness, steps }.write(staging, &mut record)?;
    Ok(record)
}

/// Folders that no object may name. A short one, such as `/`, occurs in any file.
fn machine_paths(paths: &Paths, build: &NativeBuild<'_>) -> Vec<String> {
    let home = build.context.environment.get("HOME").map(PathBuf::from);
    [Some(build.staging.to_path_buf()), Some(paths.root.clone()), Some(paths.cache.clone()), home]
        .into_iter()
        .flatten()
        .map(|path| path.display().to_string())
        .filter(|path| path.len() > 3)
        .collect()
}

fn prepare(build: &NativeBuild<'_>, archive: &Path) -> anyhow::Result<Prepared> {
    build.context.runner.check()?;
    build.library.vendored.prepare(Input::Tarball(archive), build.tree)
}

/// Shows that every patch is compiled; see [`liveness`].
fn verify_liveness(
    build: &NativeBuild<'_>,
    prepared: &Prepared,
) -> anyhow::Result<Vec<liveness::LivenessReport>> {
    let log = std::fs::read_to_string(build.log).context("reading the log of the build")?;
    let run = |folder: &Path, line: &str| {
        let mut shell = build.command(Path::new("sh"));
        shell.arg("-c").arg(line).current_dir(folder);
        build.context.runner.run(Task::new("compile a patched file again", shell)).map(|_| ())
    };
    let (reports, violations) = liveness::verify(&prepared.steps, &log, build.tree, &run)?;
    Diagnostics(violations).into_result().context("checking whether each patch is live in this build")?;
    Ok(reports)
}

#[cfg(test)]
mod tests;
