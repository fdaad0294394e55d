//! Children: started, waited for, and ended with the run.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use diag::{Diagnostic, Event, Events};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::codes::{CANCELLED, COMMAND_FAILED, COMMAND_NOT_STARTED, COMMAND_TIMEOUT, INTERRUPTED};
use crate::quote::quote;
use crate::task::{Output, Task};

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
/// First and longest interval between two polls of a child. The interval doubles, so that a child of 1 ms costs about 1 ms and
/// a long one costs few wake-ups.
const POLL_FIRST: Duration = Duration::from_micros(200);
const POLL_MAX: Duration = Duration::from_millis(5);
/// Bound of captured output, which is for messages and small JSON.
const CAPTURE_BYTES_MAX: usize = 16 << 20;

/// Starts children, handles signals, and reports events. One for the whole run; clones share its state.
#[derive(Clone)]
pub struct Runner {
    interrupted: Arc<AtomicBool>,
    /// Set when parallel work has failed, so that the result of this scope is not needed.
    cancelled: Arc<AtomicBool>,
    events: Events,
}

impl Runner {
    /// Registers handlers for SIGINT, SIGTERM and SIGHUP. The first signal ends the run at the next poll; a second one ends the
    /// process immediately.
    pub fn new(events: Events) -> anyhow::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            // The order matters: the shutdown handler reads the flag before this signal sets it.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
                .context("registering signal handlers")?;
        }
        Ok(Self { interrupted, cancelled: Arc::default(), events })
    }

    /// A runner without signal handlers that drops its events: for tests and for short-lived programs.
    pub fn without_signals() -> Self {
        Self { interrupted: Arc::default(), cancelled: Arc::default(), events: Events::none() }
    }

    /// The receiver of the events of this runner and of the code that uses it.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Fails with [`INTERRUPTED`] after a signal and with [`CANCELLED`] after [`Runner::cancel`]. Long work in
    /// this process calls it regularly.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            Err(Diagnostic::new(&INTERRUPTED, "interrupted; no incomplete file has its final name").into())
        } else if self.cancelled.load(Ordering::Relaxed) {
            Err(Diagnostic::new(&CANCELLED, "cancelled because parallel work failed").into())
        } else {
            Ok(())
        }
    }

    /// A runner for one of several parallel tasks: [`Runner::cancel`] ends the children of this scope and of its clones, and no
    /// others. Signals end all scopes.
    #[must_use]
    pub fn child_scope(&self) -> Self {
        Self { cancelled: Arc::default(), ..self.clone() }
    }

    /// Ends the children of this scope; every later [`Runner::check`] fails.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Runs a child until it exits. Every exit status except 0 is an error that quotes the command.
    pub fn run(&self, task: Task) -> anyhow::Result<Output> {
        let quoted = quote(&task.command);
        let action = task.action.clone();
        let log = task.log.clone();
        let custom_hint = task.hint;
        let output = self.output(task)?;
        if output.status.success() {
            return Ok(output);
        }
        let tail = match &log {
            Some(path) => first_error_and_tail(&std::fs::read_to_string(path).unwrap_or_default()),
            None => first_error_and_tail(&String::from_utf8_lossy(&output.stderr)),
        };
        let hint = match &log {
            Some(path) => format!("the complete log is {}; to run it by hand:\n{quoted}", path.display()),
            None => format!("to run it by hand:\n{quoted}"),
        };
        let hint = custom_hint.map_or(hint, String::from);
        Err(Diagnostic::new(&COMMAND_FAILED, format!("could not {action}"))
            .expected("exit status 0")
            .found(format!(
                "exit status {}{}",
                output.shell_code(),
                if tail.is_empty() { String::new() } else { format!("\n{tail}") }
            ))
            .hint(hint)
            .into())
    }

    /// Runs a child until it exits, with any exit status. Errors: not started, timed out, interrupted, cancelled.
    pub fn output(&self, mut task: Task) -> anyhow::Result<Output> {
        self.check()?;
        let quoted = quote(&task.command);
        self.events.emit(&Event::Command { quoted: quoted.clone() });
        let command = &mut task.command;
        command.process_group(0);
        command.stdin(if task.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        match &task.log {
            Some(path) => {
                let file = create_log(path)?;
                let twin = file.try_clone().context("duplicating a log's file handle")?;
                command.stdout(file).stderr(twin);
            }
            None => {
                command.stdout(Stdio::piped());
                command.stderr(if task.inherit_stderr { Stdio::inherit() } else { Stdio::piped() });
            }
        }
        end_with_parent(command);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| {
            Diagnostic::new(&COMMAND_NOT_STARTED, format!("could not {}: {error}", task.action))
                .hint(format!("to run it by hand:\n{quoted}"))
        })?;
        let writer = child.stdin.take().map(|mut pipe| {
            let bytes = std::mem::take(&mut task.stdin);
            // The exit status reports a child that closes its input early.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let observer = task.report_stdout.then(|| self.events.clone());
        let stdout = child.stdout.take().map(|pipe| capture(pipe, observer));
        let stderr = child.stderr.take().map(|pipe| capture(pipe, None));
        let status = self.wait(&mut child, &mut task, &quoted)?;
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        let collect = |reader: Option<JoinHandle<Vec<u8>>>| {
            reader.map_or_else(Vec::new, |thread| thread.join().unwrap_or_default())
        };
        Ok(Output { status, stdout: collect(stdout), stderr: collect(stderr), elapsed: started.elapsed() })
    }

    fn wait(&self, child: &mut Child, task: &mut Task, quoted: &str) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        let mut intervals = poll_intervals();
        loop {
            if let Some(status) = child.try_wait().context("waiting for a child process")? {
                // A failed child may leave grandchildren; after success the group is empty.
                if !status.success() {
                    end_group(child.id(), Signal::KILL);
                }
                return Ok(status);
            }
            if let Err(interrupted) = self.check() {
                end(child);
                return Err(interrupted);
            }
            if let Some(timeout) = task.timeout.filter(|timeout| started.elapsed() > *timeout) {
                end(child);
                return Err(Diagnostic::new(
                    &COMMAND_TIMEOUT,
                    format!("could not {}: it did not end within its time limit", task.action),
                )
                .expected(format!("exit within {timeout:?}"))
                .hint(format!("to run it by hand:\n{quoted}"))
                .into());
            }
            if let Some(on_poll) = &mut task.on_poll {
                on_poll();
            }
            std::thread::sleep(intervals.next().unwrap_or(POLL_MAX));
        }
    }
}

/// Intervals between the polls of one child.
fn poll_intervals() -> impl Iterator<Item = Duration> {
    std::iter::successors(Some(POLL_FIRST), |interval| Some((*interval * 2).min(POLL_MAX)))
}

/// Reads until the pipe ends, and reports what it reads to the observer.
fn capture(mut pipe: impl Read + Send + 'static, observer: Option<Events>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut buffer = [0; 8192];
        // After a read error the pipe is broken with the child; its exit status is reported.
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            let space = CAPTURE_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(&buffer[..read.min(space)]);
            if let Some(events) = &observer {
                events.emit(&Event::Output { bytes: buffer[..read].to_vec() });
            }
        }
        bytes
    })
}

fn create_log(path: &Path) -> anyhow::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    File::create(path).with_context(|| format!("creating the log {}", path.display()))
}

/// A run that is killed (`kill -9`, the OOM killer) cannot end its children, so the kernel sends them a signal: make then ends
/// its compilers, and no process writes into a staging folder that the next run removes. The kernel sends it when the *thread*
/// that started the child ends, so that thread must outlive the child.
pub fn end_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let request_signal = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // The parent may have ended before the call above; then the kernel sends no signal.
        if rustix::process::getppid() != Some(parent) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        Ok(())
    };
    // SAFETY: runs in the child between fork and exec, where only async-signal-safe calls are allowed: prctl and getppid
    // are plain system calls, and neither they nor the errors made here allocate.
    unsafe { command.pre_exec(request_signal) };
}

fn end_group(id: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(id as i32) {
        // ESRCH: the group has already ended.
        let _ = kill_process_group(pid, signal);
    }
}

fn end(child: &mut Child) {
    end_group(child.id(), Signal::TERM);
    let signalled = Instant::now();
    while signalled.elapsed() < GRACE {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(POLL_MAX);
    }
    end_group(child.id(), Signal::KILL);
    let _ = child.wait();
}

/// The first error line, then the last lines: with parallel makes the cause is far above the end.
fn first_error_and_tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail_start = lines.len().saturating_sub(8);
    let first = lines[..tail_start].iter().find(|line| line.contains("error:") || line.contains("Error "));
    let mut selected: Vec<&str> = Vec::new();
    if let Some(first) = first {
        selected.extend([*first, "…"]);
    }
    selected.extend(&lines[tail_start..]);
    let shorten = |line: &str| {
        if line.len() > 300 { line.chars().take(300).chain(['…']).collect() } else { line.to_string() }
    };
    selected.into_iter().map(shorten).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests;
