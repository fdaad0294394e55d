//! cargo for the product. Every call has the same environment and flags, so a later call compiles nothing again.

use std::process::Command;

use process::Task;

use crate::context::BuildContext;
use crate::library::LibraryPlan;
use crate::native_inputs::NativeInputs;
use crate::plan::Plan;
use crate::stages::toolchain::Toolchain;

/// A cargo command with the settings that product builds and product tests share.
pub fn command(
    plan: &Plan,
    context: &BuildContext,
    toolchain: &Toolchain,
    inputs: &[NativeInputs],
    verb: &str,
) -> anyhow::Result<Command> {
    let (rust, wrappers) = (toolchain.rust(), toolchain.wrappers());
    let dirty = if plan.commit.dirty { "-dirty" } else { "" };
    let mut cargo = context.command(&rust.cargo);
    let rustflags = [plan.rustflags.as_slice(), &rust.rustflags].concat();
    cargo
        .current_dir(&plan.paths.root)
        .args(verb.split(' '))
        .args(["--locked", "--release", "--target", &plan.target])
        .args(&rust.cargo_args)
        // The whole list, so that a `rustflags` in a configuration file of the user adds nothing.
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags.join("\x1f"))
        // Documentation tests link too. rustdoc has no stable flag to remap paths, and its programs do not ship.
        .env("CARGO_ENCODED_RUSTDOCFLAGS", codegen_flags(&rustflags).join("\x1f"))
        // Nor does a compiler or wrapper of such a file compile the product; an empty name means none.
        .env("RUSTC", &rust.rustc)
        .envs(&rust.cargo_env)
        .env("RUSTC_WRAPPER", "")
        .env("RUSTC_WORKSPACE_WRAPPER", "")
        .env(format!("CARGO_TARGET_{}_LINKER", variable(&plan.target).to_uppercase()), wrappers.cc())
        .env("CARGO_TARGET_DIR", &plan.paths.target)
        .env("ZIG_GLOBAL_CACHE_DIR", wrappers.zig_cache(&context.store))
        .env("ZIG_LOCAL_CACHE_DIR", wrappers.zig_cache(&context.store))
        .env("SOURCE_DATE_EPOCH", plan.commit.epoch_seconds.to_string())
        .env("MUSLIN_COMMIT", format!("{}{dirty}", plan.commit.id))
        .env("MUSLIN_TARGET", &plan.target)
        .env("MUSLIN_STACK_SIZE", plan.config.stack_size.0.to_string())
        .env("MUSLIN_NATIVE", described(&plan.native))
        .envs(inputs.iter().map(|inputs| (inputs.variable(), inputs.folder())));
    crate::build_script_cc::set(&mut cargo, plan, wrappers)?;
    if context.offline {
        cargo.arg("--offline");
    }
    if plan.quiet {
        cargo.arg(if verb.starts_with("nextest") { "--cargo-quiet" } else { "--quiet" });
    }
    Ok(cargo)
}

/// A target triple as part of a variable's name.
fn variable(target: &str) -> String {
    target.replace(['-', '.'], "_")
}

/// `NAME VERSION PATCH,PATCH;NAME VERSION`, for `--version`.
fn described(libraries: &[LibraryPlan]) -> String {
    let one = |library: &LibraryPlan| {
        format!("{} {} {}", library.name, library.version, library.patches.join(",")).trim_end().to_owned()
    };
    libraries.iter().map(one).collect::<Vec<_>>().join(";")
}

/// Runs a product build as a client of the pool of job tokens.
pub(crate) fn run(
    plan: &Plan,
    context: &BuildContext,
    mut cargo: Command,
    action: &'static str,
) -> anyhow::Result<()> {
    context.jobs.share_with_cargo(&mut cargo);
    let _token = context.jobs.token()?;
    context.runner.run(Task::new(action, cargo).inherit_stderr(!plan.quiet)).map(|_| ())
}

/// Downloads the crates of Cargo.lock, so that later builds can be offline.
pub fn fetch(plan: &Plan, context: &BuildContext) -> anyhow::Result<()> {
    let mut cargo = context.command("cargo");
    cargo.current_dir(&plan.paths.root).args(["fetch", "--locked"]);
    context
        .runner
        .run(Task::new("fetch the crates of Cargo.lock", cargo).inherit_stderr(!plan.quiet))
        .map(|_| ())
}

/// The flags that rustdoc takes as well.
fn codegen_flags(rustflags: &[String]) -> Vec<&str> {
    rustflags.iter().map(String::as_str).filter(|flag| flag.starts_with("-C")).collect()
}
