//! What every stage works with: child processes, cache, environment of children, job tokens.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use diag::Events;
use process::{Runner, Task};
use store::Store;

use crate::host_env::HostEnv;
use crate::jobs::Jobs;

/// Shared by all stages and not changed by any.
pub struct BuildContext {
    /// Runs children and reports events.
    pub runner: Runner,
    /// The user's cache.
    pub store: Store,
    /// The environment of children.
    pub environment: BTreeMap<String, OsString>,
    /// No download.
    pub offline: bool,
    /// Bounds all parallel work.
    pub jobs: Arc<Jobs>,
}

impl BuildContext {
    /// `jobs` bounds all parallel work of the run.
    pub fn new(host: &HostEnv, runner: Runner, offline: bool, jobs: usize) -> anyhow::Result<Self> {
        Ok(Self {
            store: Store::new(host.cache_dir.clone(), runner.clone()),
            runner,
            environment: host.environment.clone(),
            offline,
            jobs: Arc::new(Jobs::new(jobs)?),
        })
    }

    /// The same context for one of several parallel pieces of work: see [`Runner::child_scope`].
    #[must_use]
    pub fn child_scope(&self) -> Self {
        let runner = self.runner.child_scope();
        Self {
            store: Store::new(self.store.root().into(), runner.clone()),
            runner,
            environment: self.environment.clone(),
            offline: self.offline,
            jobs: Arc::clone(&self.jobs),
        }
    }

    /// Where progress is reported.
    pub fn events(&self) -> &Events {
        self.runner.events()
    }

    /// A command with the allowed environment and nothing else.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().envs(&self.environment).env("LANG", "C.UTF-8").env("LC_ALL", "C.UTF-8");
        command
    }

    /// The first program of that name in PATH.
    pub fn which(&self, name: &str) -> Option<PathBuf> {
        let path = self.environment.get("PATH")?;
        std::env::split_paths(path).map(|folder| folder.join(name)).find(|file| is_program(file))
    }

    /// The first line of a program's version output.
    pub fn version_line(&self, program: &Path, argument: &str) -> Option<String> {
        let mut command = self.command(program);
        command.arg(argument);
        let output = self.runner.run(Task::new("query a version", command)).ok()?;
        Some(output.stdout_text().lines().next().unwrap_or_default().to_string())
    }
}

fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
