//! cargo for the product: the libraries while the native ones are still being compiled, then the link.
//!
//! Both calls give cargo the same environment and flags, so the second one compiles nothing but the binary.

use std::process::Command;

use anyhow::Context;

use crate::artifact::{Artifact, Linked};
use crate::gate;
use crate::jobs::Jobs;
use crate::native::{self, LibraryPlan, StaticLib};
use crate::plan::Plan;
use crate::toolchain::{Site, Toolchain};
use process::Task;

/// A cargo command with everything that product builds and product tests share.
pub fn command(plan: &Plan, site: &Site, toolchain: &Toolchain, verb: &str) -> anyhow::Result<Command> {
    let rust = &toolchain.rust;
    let dirty = if plan.commit.dirty { "-dirty" } else { "" };
    let mut cargo = site.command(&rust.cargo);
    cargo
        .current_dir(&plan.paths.root)
        .args(verb.split(' '))
        .args(["--locked", "--release", "--target", &plan.target])
        .args(&rust.cargo_args)
        // The whole list, so that a `rustflags` in a config file of the user's own adds nothing.
        .env("CARGO_ENCODED_RUSTFLAGS", [plan.rustflags.as_slice(), &rust.rustflags].concat().join("\x1f"))
        // Nor may a compiler or a wrapper out of such a file compile what ships; an empty name means none.
        .env("RUSTC", &rust.rustc)
        .envs(&rust.cargo_env)
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
        .env(linker_variable(&plan.target), &toolchain.wrappers.cc)
        .env("CARGO_TARGET_DIR", &plan.paths.target)
        .env("ZIG_GLOBAL_CACHE_DIR", site.store.entry_path("zig"))
        .env("ZIG_LOCAL_CACHE_DIR", site.store.entry_path("zig"))
        .env("SOURCE_DATE_EPOCH", plan.commit.epoch_seconds.to_string())
        .env("MUSLIN_COMMIT", format!("{}{dirty}", plan.commit.id))
        .env("MUSLIN_TARGET", &plan.target)
        .env("MUSLIN_STACK_SIZE", plan.config.stack_size.0.to_string())
        .env("MUSLIN_NATIVE", described(&plan.native));
    crate::build_script_cc::set(&mut cargo, plan, &toolchain.wrappers)?;
    for library in &plan.native {
        cargo.env(native::variable(library), native::folder(plan, site, toolchain, library)?);
    }
    if site.offline {
        cargo.arg("--offline");
    }
    if plan.quiet {
        cargo.arg(if verb.starts_with("nextest") { "--cargo-quiet" } else { "--quiet" });
    }
    Ok(cargo)
}

/// `NAME VERSION PATCH,PATCH;NAME VERSION`, for `--version`.
fn described(libraries: &[LibraryPlan]) -> String {
    let one = |library: &LibraryPlan| {
        format!("{} {} {}", library.name, library.version, library.patches.join(",")).trim_end().to_owned()
    };
    libraries.iter().map(one).collect::<Vec<_>>().join(";")
}

/// Fetches the crates of Cargo.lock, so that later builds can be offline.
pub fn fetch(plan: &Plan, site: &Site) -> anyhow::Result<()> {
    let mut cargo = site.command("cargo");
    cargo.current_dir(&plan.paths.root).args(["fetch", "--locked"]);
    site.runner
        .run(Task::new("fetch the crates of Cargo.lock", cargo).inherit_stderr(!plan.quiet))
        .map(|_| ())
}

fn linker_variable(target: &str) -> String {
    format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"))
}

/// Everything but the link: needs no native library.
pub fn compile_libraries(plan: &Plan, site: &Site, toolchain: &Toolchain, jobs: &Jobs) -> anyhow::Result<()> {
    let mut cargo = command(plan, site, toolchain, "build")?;
    cargo.args(["--package", &plan.config.product.package, "--lib"]);
    jobs.share_with_cargo(&mut cargo);
    let _token = jobs.token()?;
    site.runner.run(Task::new("compile the libraries", cargo).inherit_stderr(!plan.quiet)).map(|_| ())
}

/// The binary, judged with its symbols still in it.
pub fn link(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    jobs: &Jobs,
    native: &[StaticLib],
) -> anyhow::Result<Linked> {
    for (library, planned) in native.iter().zip(&plan.native) {
        anyhow::ensure!(
            library.folder == native::folder(plan, site, toolchain, planned)?,
            "the archive of {} is not the one that the libraries were compiled for",
            library.name
        );
    }
    let mut cargo = command(plan, site, toolchain, "rustc")?;
    cargo.args(["--package", &plan.config.product.package, "--bin", &plan.config.product.name]);
    // Of the few lines of main.rs only: with debug information there, rustc puts `.debug_gdb_scripts` into the program,
    // as a loaded section, which no strip removes.
    cargo.args(["--", "-Cdebuginfo=0"]);
    jobs.share_with_cargo(&mut cargo);
    let _token = jobs.token()?;
    site.runner.run(Task::new("link the binary", cargo).inherit_stderr(!plan.quiet))?;
    // A copy of our own: the next cargo command may replace cargo's.
    let folder = plan.paths.work.join("linked");
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join(&plan.config.product.name);
    store::atomic_write::copy(&plan.paths.linked, &path)?;
    let file = Artifact::of(path)?;
    let verdicts = gate::linked(plan, &file)?;
    Ok(Linked { file, verdicts })
}
