//! One child process: command, streams, limits, output.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// A child process for a [`Runner`](crate::Runner).
pub struct Task {
    pub(crate) action: String,
    pub(crate) command: Command,
    pub(crate) log: Option<PathBuf>,
    pub(crate) inherit_stderr: bool,
    pub(crate) report_stdout: bool,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) hint: Option<&'static str>,
    pub(crate) on_poll: Option<Box<dyn FnMut() + Send>>,
}

impl Task {
    /// `action` completes the sentence "could not …" of an error.
    pub fn new(action: impl Into<String>, command: Command) -> Self {
        Self {
            action: action.into(),
            command,
            log: None,
            inherit_stderr: false,
            report_stdout: false,
            timeout: None,
            stdin: Vec::new(),
            hint: None,
            on_poll: None,
        }
    }

    /// Writes both streams to this file instead of capturing them.
    #[must_use]
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Passes stderr through, for children that show their own progress.
    #[must_use]
    pub fn inherit_stderr(mut self, inherit: bool) -> Self {
        self.inherit_stderr = inherit;
        self
    }

    /// Reports stdout as [`diag::Event::Output`] while the child writes it, and captures it.
    #[must_use]
    pub fn report_stdout(mut self) -> Self {
        self.report_stdout = true;
        self
    }

    /// Replaces the quoted command in the hint of an error, for commands whose files are removed by then.
    #[must_use]
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Called at every poll while the child runs, to read progress from its log.
    #[must_use]
    pub fn on_poll(mut self, on_poll: impl FnMut() + Send + 'static) -> Self {
        self.on_poll = Some(Box::new(on_poll));
        self
    }

    /// Ends the child and its process group after this time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The standard input; empty by default.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }
}

/// The result of a child that has exited.
#[derive(Debug)]
pub struct Output {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// Captured standard output, at most 16 MiB; empty with [`Task::log`].
    pub stdout: Vec<u8>,
    /// Captured standard error, at most 16 MiB; empty with [`Task::log`] and [`Task::inherit_stderr`].
    pub stderr: Vec<u8>,
    /// Wall time.
    pub elapsed: Duration,
}

impl Output {
    /// The exit status as a shell reports it: 128 + signal after a signal.
    pub fn shell_code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Standard output as text without trailing white space.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_string()
    }
}
