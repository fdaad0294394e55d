//! Tools for fuzzing besides the pinned compiler: cargo-fuzz of a pinned version, in the cache, and a nightly compiler, for its
//! sanitizers. Missing ones are fetched.

use std::path::{Path, PathBuf};
use std::process::Command;

use diag::Diagnostic;
use process::Task;
use release::context::BuildContext;
use store::Record;

use super::TOOL_MISSING;

const VERSION: &str = "0.13.2";
const PROGRAM: &str = "bin/cargo-fuzz";
/// Sanitizers need an explicit target.
const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

pub struct Tools {
    cargo_fuzz: PathBuf,
}

/// Installs what is missing.
pub fn install(context: &BuildContext) -> anyhow::Result<Tools> {
    nightly(context)?;
    let name = format!("tools/cargo-fuzz-{VERSION}");
    if context.offline && context.store.find(&name).is_none() {
        return Err(offline(&format!("cargo-fuzz {VERSION}")));
    }
    let entry = context.store.get_or_create(&name, |staging| {
        context.runner.events().step(format!("installing cargo-fuzz {VERSION}"));
        let mut install = context.command("cargo");
        install.args(["install", "--locked", "--quiet", "--version", VERSION, "--root"]).arg(staging);
        install.arg("cargo-fuzz");
        context.runner.run(
            Task::new(format!("install cargo-fuzz {VERSION}"), install)
                .hint("it is compiled from crates.io: check the network and the proxy variables"),
        )?;
        let mut record = Record::default();
        record.add_file(staging, PROGRAM)?;
        Ok(record)
    })?;
    Ok(Tools { cargo_fuzz: entry.path.join(PROGRAM) })
}

fn nightly(context: &BuildContext) -> anyhow::Result<()> {
    if context.which("rustup").is_none() {
        return Err(Diagnostic::new(
            &TOOL_MISSING,
            "`rustup` is not in PATH; it installs the nightly compiler, which has sanitizers",
        )
        .hint("install it from https://rustup.rs; it can be used beside another Rust")
        .into());
    }
    let mut query = without_toolchain(context.command("rustup"));
    query.args(["run", "nightly", "rustc", "--version"]);
    if context.runner.run(Task::new("query the nightly compiler", query)).is_ok() {
        return Ok(());
    }
    if context.offline {
        return Err(offline("a nightly compiler"));
    }
    context.runner.events().step("installing a nightly compiler");
    let mut install = without_toolchain(context.command("rustup"));
    install.args(["toolchain", "install", "nightly", "--profile", "minimal", "--no-self-update"]);
    context
        .runner
        .run(Task::new("install a nightly compiler", install).hint(
            "check the network and the proxy variables, or `rustup toolchain install nightly` by hand",
        ))?;
    Ok(())
}

fn offline(what: &str) -> anyhow::Error {
    Diagnostic::new(&TOOL_MISSING, format!("{what} is missing, and `--offline` forbids to fetch it"))
        .hint("run `cargo xtask fuzz --duration '1 s' config` once with a network")
        .into()
}

impl Tools {
    /// `cargo fuzz build` of the targets in `folder`, with the nightly compiler.
    pub fn build(&self, context: &BuildContext, root: &Path, folder: &str) -> Command {
        let mut command = without_toolchain(context.command("rustup"));
        // One target folder for all crates, so that they share their dependencies.
        command.env("CARGO_TARGET_DIR", root.join("fuzz/target"));
        command.current_dir(root).args(["run", "nightly"]).arg(&self.cargo_fuzz);
        command.args(["fuzz", "build", "--release", "--target", TRIPLE, "--fuzz-dir"]).arg(root.join(folder));
        command
    }

    /// The program that [`Tools::build`] writes.
    pub fn program(root: &Path, target: &str) -> PathBuf {
        root.join("fuzz/target").join(TRIPLE).join("release").join(target)
    }
}

/// Without the variables of cargo that would select the compiler of xtask instead of the nightly one.
fn without_toolchain(mut command: Command) -> Command {
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}
