//! Runs edited copies of one program, which may do anything: without network, files, processes of others, core dumps and
//! long computations.
//!
//! [`Sandbox::start`] starts a process of this same program ([`serve`]) that enters new namespaces and a root folder with
//! the file and `/proc` alone, and then patches, starts and restores the file for each request. One process for all requests,
//! because namespaces cost more than the run; one thread, because a file that any process has open for writing cannot be
//! executed.

mod protocol;
mod server;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use diag::Diagnostic;

pub use self::server::serve;
use crate::codes::{SANDBOX_FAILED, SANDBOX_UNAVAILABLE};

/// Bytes that replace others of the same number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Patch {
    /// Offset in the file.
    pub offset: u64,
    /// The new bytes.
    pub bytes: Vec<u8>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With this exit status.
    Exited(i32),
    /// By this signal, the one of the processor time limit included.
    Killed(i32),
    /// By the time limit.
    TimedOut,
    /// The kernel did not execute it: number of the error.
    NotStarted(i32),
}

/// A run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its end.
    pub end: End,
    /// The first bytes of its standard output.
    pub stdout: Vec<u8>,
}

/// What is run in a sandbox, and its limits.
#[derive(Debug, Clone)]
pub struct Program<'a> {
    /// The original.
    pub file: &'a Path,
    /// Its arguments.
    pub args: &'a [OsString],
    /// Time of each run.
    pub timeout: Duration,
}

/// A sandbox for one program.
pub struct Sandbox {
    server: Child,
    /// `None` when it is being ended.
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// Where the server mounts the root; empty outside of the server.
    _root: tempfile::TempDir,
}

impl Sandbox {
    /// `server` is a command that calls [`serve`] with the arguments that are appended to it.
    pub fn start(mut server: Command, program: &Program) -> Result<Self, Diagnostic> {
        let unavailable = |cause: &dyn std::fmt::Display| {
            Diagnostic::new(&SANDBOX_UNAVAILABLE, "the sandbox for edited programs could not be made")
                .file(program.file)
                .found(cause.to_string())
                .hint("allow user namespaces (`sysctl user.max_user_namespaces`), or run outside of the container")
        };
        let root = tempfile::tempdir().map_err(|error| unavailable(&error))?;
        server
            .arg(root.path())
            .arg(program.timeout.as_millis().to_string())
            .arg(program.file)
            .args(program.args);
        let spawned = server.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut server = spawned.map_err(|error| unavailable(&error))?;
        let (Some(requests), Some(answers)) = (server.stdin.take(), server.stdout.take()) else {
            return Err(unavailable(&"no pipes"));
        };
        let answers = BufReader::new(answers);
        let mut sandbox = Self { server, requests: Some(requests), answers, _root: root };
        let line = sandbox.line().map_err(|error| unavailable(&error))?;
        match line.trim_end() {
            protocol::READY => Ok(sandbox),
            "" => Err(unavailable(&"the process of the sandbox ended at its start")),
            problem => Err(unavailable(&problem)),
        }
    }

    /// Runs the program with these changes.
    pub fn run(&mut self, patches: &[Patch]) -> Result<Ran, Diagnostic> {
        let failed = |found: String| {
            Diagnostic::new(&SANDBOX_FAILED, "the process of a sandbox ended or sent no valid answer")
                .expected("the end of a run")
                .found(found)
                .hint("run the command again with fewer `--jobs`")
        };
        let request = protocol::request(patches);
        let sent = self.requests.as_mut().map(|requests| requests.write_all(request.as_bytes()));
        if let Some(Err(error)) = sent {
            return Err(failed(error.to_string()));
        }
        let line = self.line().map_err(|error| failed(error.to_string()))?;
        protocol::parse_answer(line.trim_end()).ok_or_else(|| failed(format!("`{}`", line.trim_end())))
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The end of its requests ends the server, and with it every process of its namespace.
        self.requests.take();
        let _ = self.server.wait();
    }
}
