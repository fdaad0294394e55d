//! What fuzzing needs besides the pinned compiler: cargo-fuzz of a pinned version, in the cache, and a nightly compiler,
//! which alone has sanitizers. Both are fetched when they are not here, so that `cargo xtask fuzz` is the whole command.

use std::path::{Path, PathBuf};
use std::process::Command;

use diag::Diagnostic;
use process::Task;
use release::context::BuildContext;
use store::Record;

const VERSION: &str = "0.13.2";
const PROGRAM: &str = "bin/cargo-fuzz";
/// Sanitizers need a target that is named.
const TRIPLE: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

pub struct Tools {
    cargo_fuzz: PathBuf,
}

pub fn provide(context: &BuildContext) -> anyhow::Result<Tools> {
    nightly(context)?;
    let name = format!("tools/cargo-fuzz-{VERSION}");
    if context.offline && context.store.find(&name).is_none() {
        return Err(offline(&format!("cargo-fuzz {VERSION}")));
    }
    let entry = context.store.get_or_create(&name, |staging| {
        eprintln!("installing cargo-fuzz {VERSION}");
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
            &release::codes::TOOL_MISSING,
            "`rustup` is not in PATH; it brings the nightly compiler, which has sanitizers",
        )
        .hint("https://rustup.rs installs it beside any other Rust")
        .into());
    }
    let mut ask = outside(context.command("rustup"));
    ask.args(["run", "nightly", "rustc", "--version"]);
    if context.runner.run(Task::new("ask for a nightly compiler", ask)).is_ok() {
        return Ok(());
    }
    if context.offline {
        return Err(offline("a nightly compiler"));
    }
    eprintln!("installing a nightly compiler");
    let mut install = outside(context.command("rustup"));
    install.args(["toolchain", "install", "nightly", "--profile", "minimal", "--no-self-update"]);
    context
        .runner
        .run(Task::new("install a nightly compiler", install).hint(
            "check the network and the proxy variables, or `rustup toolchain install nightly` by hand",
        ))?;
    Ok(())
}

fn offline(what: &str) -> anyhow::Error {
    Diagnostic::new(
        &release::codes::TOOL_MISSING,
        format!("{what} is not here, and `--offline` forbids to fetch it"),
    )
    .hint("run `cargo xtask fuzz --seconds 1 config` once with a network")
    .into()
}

impl Tools {
    /// `cargo fuzz build` of all targets, on the nightly compiler.
    pub fn build(&self, context: &BuildContext, root: &Path) -> Command {
        let mut command = outside(context.command("rustup"));
        command.current_dir(root).args(["run", "nightly"]).arg(&self.cargo_fuzz);
        command.args(["fuzz", "build", "--release", "--target", TRIPLE, "--fuzz-dir"]).arg(root.join("fuzz"));
        command
    }

    /// What [`Tools::build`] leaves.
    pub fn program(&self, root: &Path, target: &str) -> PathBuf {
        root.join("fuzz/target").join(TRIPLE).join("release").join(target)
    }
}

/// cargo sets these for what it runs; they would choose the compiler of xtask instead of the nightly one.
fn outside(mut command: Command) -> Command {
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}
