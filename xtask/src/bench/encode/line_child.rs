//! A child process that reads requests and writes responses, one per line, while it runs.
//!
//! `process::Runner` runs children to their end; these stay warm between measurements. Dropping one kills it, and the kernel ends
//! it when this process is killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use process::Runner;

/// Interval between two checks for an interrupt.
const POLL: Duration = Duration::from_millis(50);
/// Lines of a log that an error quotes.
const LOG_LINES: usize = 8;

/// The stream with the answers; the other one goes to the log.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    Stdout,
    Stderr,
}

pub struct LineChild {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    log: PathBuf,
    quoted: String,
}

impl LineChild {
    pub fn start(mut command: Command, answers: Answers, log: &Path) -> anyhow::Result<Self> {
        let quoted = process::quote(&command);
        let other = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        command.stdin(Stdio::piped());
        match answers {
            Answers::Stdout => command.stdout(Stdio::piped()).stderr(other),
            Answers::Stderr => command.stderr(Stdio::piped()).stdout(other),
        };
        process::end_with_parent(&mut command);
        let mut child = command.spawn().with_context(|| format!("starting `{quoted}`"))?;
        let stdin = child.stdin.take();
        let stream: Option<Box<dyn Read + Send>> = match answers {
            Answers::Stdout => child.stdout.take().map(|pipe| Box::new(pipe) as _),
            Answers::Stderr => child.stderr.take().map(|pipe| Box::new(pipe) as _),
        };
        let stream = stream.context("a child without a pipe")?;
        let (sender, lines) = channel();
        // Reads on until the child ends, so that a full pipe never blocks it. The lines are few.
        std::thread::spawn(move || {
            let lines = BufReader::new(stream).lines().map_while(Result::ok);
            lines.map_while(|line| sender.send(line).ok()).for_each(drop);
        });
        Ok(Self { child, stdin, lines, log: log.into(), quoted })
    }

    /// Writes a line to the child's stdin.
    pub fn write(&mut self, line: &str) -> anyhow::Result<()> {
        let written = self.stdin.as_mut().map(|stdin| writeln!(stdin, "{line}"));
        match written {
            Some(Ok(())) => Ok(()),
            _ => Err(self.failure("it closed its input")),
        }
    }

    /// The next line of the answers.
    pub fn next_line(&self, runner: &Runner, timeout: Duration) -> anyhow::Result<String> {
        let deadline = Instant::now() + timeout;
        loop {
            match self.lines.recv_timeout(POLL) {
                Ok(line) => return Ok(line),
                Err(RecvTimeoutError::Disconnected) => return Err(self.failure("it ended")),
                Err(RecvTimeoutError::Timeout) => runner.check()?,
            }
            if Instant::now() > deadline {
                return Err(self.failure(&format!("it did not answer within {} s", timeout.as_secs())));
            }
        }
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        // The first line must do in a table: programs end with their error.
        let last = lines.last().map_or(String::new(), |line| format!(": {line}"));
        anyhow::anyhow!("{what}{last}\nto run it by hand:\n{}\nits log ends in:\n{tail}", self.quoted)
    }
}

impl Drop for LineChild {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, folder: &Path) -> LineChild {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        LineChild::start(command, Answers::Stdout, &folder.join("log")).unwrap()
    }

    #[test]
    fn lines_are_answered_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let runner = Runner::without_signals();
        let mut child = start("while read line; do echo \"got $line\"; done", folder.path());
        for text in ["one", "two"] {
            child.write(text).unwrap();
            assert_eq!(child.next_line(&runner, Duration::from_secs(20)).unwrap(), format!("got {text}"));
        }
    }

    #[test]
    fn a_child_that_ends_or_does_not_answer_is_an_error_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let runner = Runner::without_signals();
        let ended = start("echo the cause >&2", folder.path());
        let error = ended.next_line(&runner, Duration::from_secs(20)).unwrap_err().to_string();
        insta::assert_snapshot!(error.replace(&folder.path().display().to_string(), "FOLDER"), @"
        it ended: the cause
        to run it by hand:
        sh -c 'echo the cause >&2'
        its log ends in:
        the cause
        ");
        let silent = start("read line", folder.path());
        let error = silent.next_line(&runner, Duration::ZERO).unwrap_err().to_string();
        insta::assert_snapshot!(error.replace(&folder.path().display().to_string(), "FOLDER"), @"
        it did not answer within 0 s
        to run it by hand:
        sh -c 'read line'
        its log ends in:
        ");
    }
}
