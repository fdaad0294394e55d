//! Builds the programs of `benches/alloc` with compiler, flags and libc of the product.

use std::path::{Path, PathBuf};

use anyhow::Context;
use patchset::Vendored;
use process::Task;
use release::config::Native;
use release::context::BuildContext;
use release::library::LibraryPlan;
use release::native_inputs::NativeInputs;
use release::plan::Plan;
use release::stages::toolchain::{self, Toolchain};
use release::stages::{native, sources};

/// Allocators that the pipeline compiles from C, for the comparison only.
const PEERS: [&str; 3] = ["mallocng", "oldmalloc", "snmalloc"];

/// Builds all programs of a package; returns their folder.
pub fn build(plan: &Plan, context: &BuildContext, package: &str) -> anyhow::Result<PathBuf> {
    plan.check_tools()?;
    let toolchain = toolchain::install(plan, context)?;
    let workspace = plan.paths.root.join(super::WORKSPACE);
    let mut inputs = Vec::new();
    // The archives that ship: the fingerprint is that of the release, so the cache has them after a `dist`.
    for library in &plan.native {
        let source = plan.tools.sources.get(&library.name).context("a library without a resolved source")?;
        inputs.push(install(plan, context, &toolchain, library, source)?);
    }
    for name in PEERS {
        let library = peer(plan, &workspace, name)?;
        let source = sources::probe(context, &library.vendored.manifest, None);
        inputs.push(install(plan, context, &toolchain, &library, &source)?);
    }
    let mut cargo = release::cargo::command(plan, context, &toolchain, &inputs, "build")?;
    cargo.current_dir(&workspace).args(["--package", package, "--bins"]);
    context.jobs.share_with_cargo(&mut cargo);
    let task = Task::new("build the programs of the comparison", cargo).inherit_stderr(!plan.quiet);
    context.runner.run(task)?;
    Ok(plan.paths.target.join(&plan.target).join("release"))
}

fn peer(plan: &Plan, workspace: &Path, name: &str) -> anyhow::Result<LibraryPlan> {
    let vendor = workspace.join("vendor").join(name);
    let vendored = Vendored::read(&vendor)?;
    let choices = Native { vendor, threads_max: None, kernels: Vec::new(), options: Vec::new() };
    LibraryPlan::new(name, &choices, vendored, plan.config.stack_size)
        .map_err(|problems| diag::Diagnostics(problems).into())
}

fn install(
    plan: &Plan,
    context: &BuildContext,
    toolchain: &Toolchain,
    library: &LibraryPlan,
    source: &release::resolution::Resolution<release::resolution::SourceArchive>,
) -> anyhow::Result<NativeInputs> {
    let inputs = NativeInputs::new(&plan.target, context, toolchain, library)?;
    native::build_alone(plan, context, toolchain, library, &inputs, || {
        sources::install(context, &library.vendored.manifest, source)
    })?;
    Ok(inputs)
}
