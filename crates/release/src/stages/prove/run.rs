//! One run of the packed file, in an environment made here.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use process::{COMMAND_NOT_STARTED, COMMAND_TIMEOUT, Output, Task, quote};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use units::ByteSize;

use super::isolation::Isolation;
use super::{Conclusion, Observation, ProofContext};

/// How the file is run.
#[derive(Default)]
pub(super) struct Run {
    pub args: Vec<OsString>,
    pub env: BTreeMap<String, String>,
    pub stdin: Vec<u8>,
    /// `ulimit -s`.
    pub stack_limit: Option<ByteSize>,
    pub isolation: Option<Isolation>,
    /// On another processor than that of the build machine.
    pub emulation: Option<Emulation>,
    /// In place of `prove.timeout`.
    pub timeout: Option<Duration>,
}

/// qemu-user and a CPU model.
pub(super) struct Emulation {
    pub emulator: PathBuf,
    pub model: String,
}

impl Run {
    /// The start of the command line for a program.
    fn start(&self, program: &Path) -> Command {
        match &self.emulation {
            None => Command::new(program),
            Some(Emulation { emulator, model }) => {
                let mut command = Command::new(emulator);
                command.arg("-cpu").arg(model).arg(program);
                command
            }
        }
    }
}

/// How a run ended.
pub(super) struct Ran {
    pub end: End,
    /// For a shell; without the environment when that is long.
    pub command: String,
    pub elapsed: Duration,
}

pub(super) enum End {
    Exited(Output),
    /// Not started, or ended by the time limit: why.
    Failed(String),
    /// The isolation could not be set up: why.
    NotIsolated(String),
}

/// More variables than that are not worth quoting.
const QUOTED_VARIABLES_MAX: usize = 8;

impl ProofContext<'_> {
    /// Runs the file once. An error is an interruption, or an operation of this process that failed.
    pub(super) fn run(&self, name: &str, run: Run) -> anyhow::Result<Ran> {
        let folder = tempfile::tempdir().context("creating an empty folder to run the packed file in")?;
        let program = match &run.isolation {
            Some(isolation) => isolation.program(self.file.path()),
            None => self.file.path().to_path_buf(),
        };
        let mut by_hand = run.start(self.file.path());
        by_hand.env_clear().args(&run.args);
        if run.env.len() <= QUOTED_VARIABLES_MAX {
            by_hand.envs(&run.env);
        }
        let mut quoted = quote(&by_hand);
        if let Some(limit) = run.stack_limit {
            quoted = format!("(ulimit -s {}; {quoted})", limit.0 / 1024);
        }
        let mut command = run.start(&program);
        command.env_clear().envs(&run.env).args(&run.args).current_dir(folder.path());
        if let Some(limit) = run.stack_limit {
            limit_stack(&mut command, limit);
        }
        let mut isolation_failure = None;
        if let Some(isolation) = run.isolation {
            quoted = format!("{quoted}   # {}", isolation.description());
            isolation_failure = Some(isolation.install(&mut command, self.file.path(), folder.path())?);
        }
        let timeout = run.timeout.unwrap_or(self.config.timeout.0);
        let started = Instant::now();
        let task =
            Task::new(format!("run the packed file for `{name}`"), command).timeout(timeout).stdin(run.stdin);
        let result = self.runner.output(task);
        let elapsed = started.elapsed();
        if let Some(mut pipe) = isolation_failure {
            let mut message = String::new();
            pipe.read_to_string(&mut message).context("reading how the isolation ended")?;
            if !message.is_empty() {
                let error = result.err().map(|error| format!(": {error}")).unwrap_or_default();
                return Ok(Ran {
                    end: End::NotIsolated(format!("cannot {message}{error}")),
                    command: quoted,
                    elapsed,
                });
            }
        }
        let end = match result {
            Ok(output) => End::Exited(output),
            Err(error) if diag::has_code(&error, &COMMAND_TIMEOUT) => {
                End::Failed(format!("still running after {} s", timeout.as_secs_f64()))
            }
            Err(error) if diag::has_code(&error, &COMMAND_NOT_STARTED) => {
                End::Failed(format!("not started: {error}"))
            }
            Err(error) => return Err(error),
        };
        Ok(Ran { end, command: quoted, elapsed })
    }
}

impl Ran {
    /// The observation of a proof that this run decides alone.
    pub(super) fn observation(
        self,
        name: impl Into<String>,
        conclusion: Conclusion,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Observation {
        Observation {
            name: name.into(),
            conclusion,
            permission: None,
            expected: expected.into(),
            found: found.into(),
            command: self.command,
            elapsed: self.elapsed,
        }
    }
}

/// The exit status and the end of standard error, for messages.
pub(super) fn exit_text(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let tail: Vec<&str> = stderr.trim().lines().rev().take(4).collect();
    let tail: Vec<&str> = tail.into_iter().rev().collect();
    let separator = if tail.is_empty() { "" } else { "\n" };
    format!("exit status {}{separator}{}", output.shell_code(), tail.join("\n"))
}

fn limit_stack(command: &mut Command, limit: ByteSize) {
    let set = move || {
        let now = getrlimit(Resource::Stack);
        setrlimit(Resource::Stack, Rlimit { current: Some(limit.0), maximum: now.maximum })?;
        Ok(())
    };
    // SAFETY: runs in the child between fork and exec; getrlimit and setrlimit are plain system calls, and neither they nor
    // the error made here allocate.
    unsafe { command.pre_exec(set) };
}
