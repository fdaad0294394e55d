//! The tools of a build: found on the machine when they are of the right version, else fetched into the user's cache.
//!
//! [`survey`] only looks (it is what `cargo xtask doctor` and `--plan` print); [`provide`] fetches what the survey found
//! missing. Besides `sources`, this is the only module that may use the network. Digests are pinned where the source is
//! stable (Python wheels); where a suite moves (Debian), the version is resolved on the day and recorded.

pub mod apt;
pub mod crates;
pub mod pip;
mod rust;
mod upx;
mod wrappers;
mod zig;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

pub use rust::{Rust, StdOrigin, StdPreference};
pub use wrappers::{Wrappers, warm_linker};

use crate::config::Config;
use diag::{Diagnostic, Diagnostics};
use process::{Runner, Task, quote};
use store::Digest;
use store::Store;

/// Where work is done: children, cache, and what children may see. Shared by all stages; nobody changes it.
pub struct Site {
    pub runner: Runner,
    pub store: Store,
    pub environment: BTreeMap<String, OsString>,
    pub asked: Asked,
    pub offline: bool,
}

/// A program that is there.
#[derive(Debug, Clone, Serialize)]
pub struct Tool {
    pub name: &'static str,
    pub version: String,
    /// Not in the manifest: where a tool lies says nothing about what it made.
    #[serde(skip)]
    pub path: PathBuf,
    pub sha256: Digest,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Found on the machine and used as it is.
    Machine,
    /// In our cache, fetched by this run or an earlier one.
    Cache,
}

/// What a look at the machine said about one tool.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Finding {
    Ready { name: &'static str, version: String, path: PathBuf, origin: Origin },
    WouldFetch { name: &'static str, version: String, from: String, with: Fetcher },
    Missing { name: &'static str, problem: String, hint: String },
}

/// The program that fetches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fetcher {
    Pip,
    Apt,
    Cargo,
    Rustup,
}

/// Everything that the later stages call.
#[derive(Debug, Clone, Serialize)]
pub struct Toolchain {
    pub zig: Tool,
    pub upx: Tool,
    pub make: Tool,
    pub objcopy: Tool,
    pub host_cc: Tool,
    pub rust: Rust,
    pub wrappers: Wrappers,
}

/// What programs said of themselves: a run looks at the tools first and takes them later, and asking takes longer than all
/// else when nothing has changed.
#[derive(Debug, Clone, Default)]
pub struct Asked(Arc<Mutex<BTreeMap<String, String>>>);

impl Site {
    /// The same place for work that goes on side by side with other work: see [`Runner::child_scope`].
    pub fn child_scope(&self) -> Self {
        let runner = self.runner.child_scope();
        Self {
            store: Store::new(self.store.root().into(), runner.clone()),
            runner,
            environment: self.environment.clone(),
            asked: self.asked.clone(),
            offline: self.offline,
        }
    }

    /// A command that sees the allowed environment and nothing else.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.environment).env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8");
        command
    }

    /// The first program of that name in PATH.
    pub fn which(&self, name: &str) -> Option<PathBuf> {
        let path = self.environment.get("PATH")?;
        std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_program(file))
    }

    /// The first line that a program prints of its version.
    pub fn version_line(&self, program: &Path, argument: &str) -> Option<String> {
        let mut command = self.command(program);
        command.arg(argument);
        Some(self.ask("ask for a version", command)?.lines().next().unwrap_or_default().to_string())
    }

    /// What a program prints that prints the same each time; it is run once.
    fn ask(&self, what: &str, command: Command) -> Option<String> {
        let question = quote(&command);
        let asked = || self.asked.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(said) = asked().get(&question) {
            return Some(said.clone());
        }
        let said = self.runner.run(Task::new(what, command)).ok()?.stdout_text();
        asked().insert(question, said.clone());
        Some(said)
    }

    /// A program that every build machine has; only its absence is a problem.
    fn machine_tool(&self, name: &'static str, program: &str, package: &str) -> Result<Tool, Diagnostic> {
        let path = self.which(program).ok_or_else(|| {
            Diagnostic::new(&crate::GENERAL, format!("`{program}` is not in PATH"))
                .hint(format!("apt-get install {package}"))
        })?;
        let version = self.version_line(&path, "--version").unwrap_or_else(|| "unknown".into());
        let sha256 =
            Digest::of_file(&path).map_err(|error| Diagnostic::new(&crate::GENERAL, format!("{error:#}")))?;
        Ok(Tool { name, version, path, sha256, origin: Origin::Machine })
    }
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

impl Finding {
    fn of(result: Result<&Tool, &Diagnostic>, name: &'static str) -> Self {
        match result {
            Ok(tool) => Finding::Ready {
                name,
                version: tool.version.clone(),
                path: tool.path.clone(),
                origin: tool.origin.clone(),
            },
            Err(failure) => Finding::Missing {
                name,
                problem: failure.to_string(),
                hint: failure.fields().hint.clone().unwrap_or_default(),
            },
        }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Finding::Ready { name, .. }
            | Finding::WouldFetch { name, .. }
            | Finding::Missing { name, .. } => name,
        }
    }

    pub fn is_missing(&self) -> bool {
        matches!(self, Finding::Missing { .. })
    }

    fn fetched_with(&self) -> Option<Fetcher> {
        match self {
            Finding::WouldFetch { with, .. } => Some(*with),
            _ => None,
        }
    }

    /// What is missing, as a problem of a build.
    pub fn problem(&self) -> Option<Diagnostic> {
        match self {
            Finding::Missing { name, problem, hint } => {
                Some(Diagnostic::new(&crate::GENERAL, format!("{name}: {problem}")).hint(hint.as_str()))
            }
            _ => None,
        }
    }
}

/// The tools that come with any Debian machine that has a Rust toolchain on it.
fn machine_tools(site: &Site) -> [(&'static str, Result<Tool, Diagnostic>); 3] {
    [
        ("make", site.machine_tool("make", "make", "make")),
        ("objcopy", site.machine_tool("objcopy", "objcopy", "binutils")),
        ("cc", site.machine_tool("cc", "cc", "gcc")),
    ]
}

/// Looks at everything and changes nothing: one finding a tool, whether or not an earlier one is missing.
pub fn survey(site: &Site, config: &Config, target: &str, std: StdPreference) -> Vec<Finding> {
    // The digest of the compiler takes as long as all other looks together.
    std::thread::scope(|scope| {
        let zig = scope.spawn(|| zig::survey(site, config));
        let (rust, upx) = (rust::survey(site, target, std), upx::survey(site, config));
        let machine = machine_tools(site);
        let mut findings = vec![zig.join().expect("a look does not panic"), rust, upx];
        findings.extend(machine.iter().map(|(name, found)| Finding::of(found.as_ref(), name)));
        findings
    })
}

/// The programs that fetch what the findings say would be fetched; none when nothing would be.
pub fn survey_fetchers(site: &Site, findings: &[Finding]) -> Vec<Finding> {
    let needed = |fetcher| findings.iter().any(|finding| finding.fetched_with() == Some(fetcher));
    let mut fetchers = Vec::new();
    if needed(Fetcher::Pip) {
        fetchers.push(pip::survey(site));
    }
    if needed(Fetcher::Apt) {
        fetchers.push(apt::survey(site));
    }
    fetchers
}

/// The tools, fetched side by side where they are missing. All problems are reported, not only the first.
pub fn provide(site: &Site, config: &Config, target: &str, std: StdPreference) -> anyhow::Result<Toolchain> {
    let (zig, rust, upx) = std::thread::scope(|scope| {
        let zig = scope.spawn(|| zig::provide(site, config));
        let rust = scope.spawn(|| rust::provide(site, target, std));
        let upx = upx::provide(site, config);
        let joined = "a fetching thread does not panic";
        (zig.join().expect(joined), rust.join().expect(joined), upx)
    });
    let [(_, make), (_, objcopy), (_, host_cc)] = machine_tools(site);
    let mut problems = Vec::new();
    let mut keep = |error: anyhow::Error| {
        let mut failure = Diagnostic::new(&crate::GENERAL, format!("{error:#}"));
        if let Some(hint) = diag::hint_of(&error) {
            failure = failure.hint(hint);
        }
        problems.push(failure);
    };
    let zig = zig.map_err(&mut keep).ok();
    let rust = rust.map_err(&mut keep).ok();
    let upx = upx.map_err(&mut keep).ok();
    let [make, objcopy, host_cc] = [make, objcopy, host_cc].map(|tool| tool.map_err(|e| keep(e.into())).ok());
    site.runner.check()?;
    Diagnostics(problems).into_result()?;
    let whole = "no problem was reported";
    let (zig, rust) = (zig.expect(whole), rust.expect(whole));
    let wrappers = wrappers::provide(site, &zig, target)?;
    Ok(Toolchain {
        zig,
        upx: upx.expect(whole),
        make: make.expect(whole),
        objcopy: objcopy.expect(whole),
        host_cc: host_cc.expect(whole),
        rust,
        wrappers,
    })
}

/// The error for something that is neither on the machine nor in the cache when the network may not be used.
fn offline(what: &str) -> anyhow::Error {
    Diagnostic::new(
        &crate::GENERAL,
        format!("{what} is neither on this machine nor in the cache, and `--offline` forbids to fetch it"),
    )
    .hint("run `cargo xtask doctor --fetch` once with a network")
    .into()
}
