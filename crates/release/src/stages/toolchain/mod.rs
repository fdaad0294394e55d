//! Stage `toolchain`: the tools of a build, from the machine when they have the right version, else in the user's cache.
//!
//! [`probe`] reads machine and cache and changes nothing; its resolutions are part of the Plan. [`install`] consumes them.
//! Besides `sources` this is the only stage that uses the network. Downloads are pinned by digest where the source is stable
//! (Python wheels); where a suite moves (Debian), the version of the day is recorded.

mod qemu;
mod rust;
mod upx;
mod wrappers;
mod zig;

use std::collections::BTreeMap;

use anyhow::Context;
use diag::{Diagnostic, Diagnostics};
use serde::Serialize;
use store::{CacheEntry, Digest};

pub use wrappers::Wrappers;
pub(crate) use wrappers::warm_linker;

use crate::codes::TOOL_MISSING;
use crate::config::Config;
use crate::context::BuildContext;
use crate::plan::Plan;
use crate::resolution::{Emulator, Origin, Resolution, Resolutions, Rust, StdPreference, Tool};

/// Every tool that later stages call, installed.
///
/// Only [`install`] constructs it:
///
/// ```compile_fail,E0451
/// use release::resolution::{Rust, Tool};
/// fn forge(tool: Tool, rust: Rust, wrappers: release::stages::toolchain::Wrappers) {
///     let _ = release::stages::toolchain::Toolchain {
///         zig: tool.clone(), upx: tool.clone(), make: tool.clone(), objcopy: tool.clone(), host_cc: tool, emulator: None,
///         rust, wrappers,
///     };
/// }
/// ```
#[derive(Debug, Clone, Serialize)]
pub struct Toolchain {
    zig: Tool,
    upx: Tool,
    make: Tool,
    objcopy: Tool,
    host_cc: Tool,
    emulator: Option<Tool>,
    rust: Rust,
    wrappers: Wrappers,
}

impl Toolchain {
    /// C compiler, linker and musl.
    pub fn zig(&self) -> &Tool {
        &self.zig
    }

    /// The packer.
    pub fn upx(&self) -> &Tool {
        &self.upx
    }

    /// GNU make.
    pub fn make(&self) -> &Tool {
        &self.make
    }

    /// Binutils' objcopy.
    pub fn objcopy(&self) -> &Tool {
        &self.objcopy
    }

    /// The machine's own C compiler, for programs that a build runs.
    pub fn host_cc(&self) -> &Tool {
        &self.host_cc
    }

    /// qemu-user; `None` when no proof needs it, or when it is missing and release.toml allows that.
    pub fn emulator(&self) -> Option<&Tool> {
        self.emulator.as_ref()
    }

    /// cargo, rustc and the standard library.
    pub fn rust(&self) -> &Rust {
        &self.rust
    }

    /// zig under the names of a C compiler and of binutils.
    pub fn wrappers(&self) -> &Wrappers {
        &self.wrappers
    }

    /// A toolchain of the machine's own compiler, for tests of native builds.
    #[cfg(test)]
    pub(crate) fn of_machine(cc: std::path::PathBuf) -> Self {
        let sha256 = Digest::of(b"machine");
        let tool = |name: &'static str| Tool {
            name,
            version: "GNU Make 4.3".into(),
            path: name.into(),
            sha256: sha256.clone(),
            origin: Origin::Machine,
            entry: None,
        };
        Self {
            zig: tool("zig"),
            upx: tool("upx"),
            make: tool("make"),
            objcopy: tool("objcopy"),
            host_cc: tool("cc"),
            emulator: None,
            rust: Rust {
                cargo: "cargo".into(),
                rustc: "rustc".into(),
                version: String::new(),
                std: crate::resolution::StdOrigin::Installed,
                cargo_args: Vec::new(),
                cargo_env: BTreeMap::new(),
                rustflags: Vec::new(),
                entry: None,
            },
            wrappers: Wrappers::of_machine(cc, sha256),
        }
    }
}

/// Resolves every tool, also when an earlier one is missing. Changes nothing.
pub fn probe(context: &BuildContext, config: &Config, target: &str, std: StdPreference) -> Resolutions {
    // The digest of the compiler takes as long as everything else together.
    let (zig, (rust, upx, machine)) = context.jobs.join(
        || zig::probe(context, config),
        || {
            let machine = [("make", "make"), ("objcopy", "binutils"), ("cc", "gcc")]
                .map(|(program, package)| machine_tool(context, program, package));
            (rust::probe(context, target, std), upx::probe(context, config), machine)
        },
    );
    let [make, objcopy, host_cc] = machine;
    let emulator = config
        .prove
        .needs_emulator()
        .then(|| Emulator { tool: qemu::probe(context), is_required: !config.prove.allows_no_emulator() });
    Resolutions {
        zig,
        upx,
        make,
        objcopy,
        host_cc,
        emulator,
        rust,
        sources: BTreeMap::new(),
        fetchers: Vec::new(),
    }
}

/// A program that every build machine has.
fn machine_tool(context: &BuildContext, name: &'static str, package: &str) -> Resolution<Tool> {
    let Some(path) = context.which(name) else {
        let problem = Diagnostic::new(&TOOL_MISSING, format!("`{name}` is not in PATH"))
            .rule(name)
            .hint(format!("apt-get install {package}"));
        return Resolution::Missing { problem };
    };
    match Digest::of_file(&path) {
        Ok(sha256) => {
            let version = context.version_line(&path, "--version").unwrap_or_else(|| "unknown".into());
            Resolution::Use(Tool { name, version, path, sha256, origin: Origin::Machine, entry: None })
        }
        Err(error) => Resolution::Missing {
            problem: Diagnostic::new(&TOOL_MISSING, format!("`{name}` cannot be read"))
                .file(path)
                .cause(format!("{error:#}"))
                .hint(format!("apt-get install {package}")),
        },
    }
}

/// Installs what the Plan resolved: downloads run in parallel, bounded by the jobs. All problems are reported together.
pub fn install(plan: &Plan, context: &BuildContext) -> anyhow::Result<Toolchain> {
    let tools = &plan.tools;
    let ((zig, upx), (rust, emulator)) = context.jobs.join(
        || context.jobs.join(|| zig::install(context, &tools.zig), || upx::install(context, &tools.upx)),
        || {
            let emulator = tools.emulator.as_ref().map(|emulator| install_emulator(context, emulator));
            (rust::install(context, &tools.rust), emulator.transpose())
        },
    );
    let mut problems = Diagnostics::default();
    let emulator = emulator.map_err(|error| problems.push_error(&error)).ok().flatten().flatten();
    let mut check = |result: anyhow::Result<Tool>| result.map_err(|error| problems.push_error(&error)).ok();
    let (zig, upx) = (check(zig), check(upx));
    let [make, objcopy, host_cc] =
        [&tools.make, &tools.objcopy, &tools.host_cc].map(|tool| check(installed(context, tool)));
    let rust = rust.map_err(|error| problems.push_error(&error)).ok();
    context.runner.check()?;
    problems.into_result()?;
    let all = || Some((zig?, upx?, make?, objcopy?, host_cc?, rust?));
    let (zig, upx, make, objcopy, host_cc, rust) = all().context("a tool is missing without a problem")?;
    let wrappers = wrappers::install(context, &zig, &plan.target)?;
    Ok(Toolchain { zig, upx, make, objcopy, host_cc, emulator, rust, wrappers })
}

/// `None` for a missing emulator that the run does not require.
fn install_emulator(context: &BuildContext, emulator: &Emulator) -> anyhow::Result<Option<Tool>> {
    match &emulator.tool {
        Resolution::Missing { .. } if !emulator.is_required => Ok(None),
        tool => qemu::install(context, tool).map(Some),
    }
}

/// A tool that is present, or the problem of a missing one.
fn installed(context: &BuildContext, tool: &Resolution<Tool>) -> anyhow::Result<Tool> {
    match tool {
        Resolution::Use(tool) => {
            hold(context, tool.entry.as_ref())?;
            Ok(tool.clone())
        }
        Resolution::Fetch(fetch) => anyhow::bail!("{} cannot be fetched", fetch.from),
        Resolution::Missing { problem } => Err(problem.clone().into()),
    }
}

/// Locks a cache entry for the rest of the run. The probe compared its digests; it is not read again.
fn hold(context: &BuildContext, entry: Option<&CacheEntry>) -> anyhow::Result<()> {
    match entry {
        Some(entry) => context.store.hold(entry),
        None => Ok(()),
    }
}

/// A tool that is neither on the machine nor in the cache, with `--offline`.
fn offline(name: &'static str, what: &str, instead: &str) -> Diagnostic {
    Diagnostic::new(
        &TOOL_MISSING,
        format!("{what} is not installed and not in the cache, and `--offline` is set"),
    )
    .rule(name)
    .hint(format!("run `cargo xtask doctor --fetch` once with a network{instead}"))
}
