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

use crate::{
    CANCELLED, COMMAND_FAILED, COMMAND_NOT_STARTED, COMMAND_TIMEOUT, INTERRUPTED, Output, Task, quote,
};

/// Time between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);
/// Captured output is for messages and small JSON; a child that never stops printing must not fill our memory.
const CAPTURE_BYTES_MAX: usize = 16 << 20;

/// Starts children, watches for signals, and reports events. One for the whole run; clones share its state.
#[derive(Clone)]
pub struct Runner {
    interrupted: Arc<AtomicBool>,
    /// Set when parallel work has failed: the result of this scope is of no use any more.
    cancelled: Arc<AtomicBool>,
    events: Events,
}

impl Runner {
    /// Registers for SIGINT, SIGTERM and SIGHUP. The first one is honoured between two polls; a second one ends the process
    /// at once.
    pub fn new(events: Events) -> anyhow::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            // The order matters: the shutdown handler looks at the flag before this signal has set it.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
                .context("registering signal handlers")?;
        }
        Ok(Self { interrupted, cancelled: Arc::default(), events })
    }

    /// One that registers no signal handler and drops its events: for tests and for short-lived helpers.
    pub fn without_signals() -> Self {
        Self { interrupted: Arc::default(), cancelled: Arc::default(), events: Events::none() }
    }

    /// Where this runner, and whatever works with it, reports events.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// Fails with [`INTERRUPTED`] after a signal and with [`CANCELLED`] after [`Runner::cancel`]. Long work that is not a
    /// child calls it now and then.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            Err(Diagnostic::new(&INTERRUPTED, "interrupted; no half-made file has its final name").into())
        } else if self.cancelled.load(Ordering::Relaxed) {
            Err(Diagnostic::new(&CANCELLED, "cancelled because parallel work failed").into())
        } else {
            Ok(())
        }
    }

    /// A runner for one of several parallel pieces of work: [`Runner::cancel`] ends the children of this scope and of its
    /// clones, and no others. Signals reach all scopes.
    #[must_use]
    pub fn child_scope(&self) -> Self {
        Self { cancelled: Arc::default(), ..self.clone() }
    }

    /// Ends the work of this scope.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Runs a child to its end. Anything but exit status 0 is an error that quotes the command.
    pub fn run(&self, task: Task) -> anyhow::Result<Output> {
        let quoted = quote(&task.command);
        let action = task.action.clone();
        let log = task.log.clone();
        let own_hint = task.hint;
        let output = self.output(task)?;
        if output.status.success() {
            return Ok(output);
        }
        let tail = match &log {
            Some(path) => first_error_and_tail(&std::fs::read_to_string(path).unwrap_or_default()),
            None => first_error_and_tail(&String::from_utf8_lossy(&output.stderr)),
        };
        let hint = match &log {
            Some(path) => format!("the whole log is {}; to run it by hand:\n{quoted}", path.display()),
            None => format!("to run it by hand:\n{quoted}"),
        };
        let hint = own_hint.map_or(hint, String::from);
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

    /// Runs a child to its end, with any exit status. Errors: not started, timed out, interrupted, cancelled.
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
            // A child that closes its input early reports that by its exit status.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let stdout = child.stdout.take().map(|pipe| capture(pipe, task.tee_stdout));
        let stderr = child.stderr.take().map(|pipe| capture(pipe, false));
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
        loop {
            if let Some(status) = child.try_wait().context("waiting for a child process")? {
                // A child that died of a signal may leave grandchildren behind; on success the group is empty.
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
                    format!("could not {}: it did not end in time", task.action),
                )
                .expected(format!("an end within {timeout:?}"))
                .hint(format!("to run it by hand:\n{quoted}"))
                .into());
            }
            if let Some(on_poll) = &mut task.on_poll {
                on_poll();
            }
            std::thread::sleep(POLL);
        }
    }
}

fn capture(mut pipe: impl Read + Send + 'static, echo: bool) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut buffer = [0; 8192];
        // A read error here means the pipe broke with the child, whose exit status is reported.
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            let space = CAPTURE_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(&buffer[..read.min(space)]);
            if echo {
                let mut out = std::io::stdout().lock();
                let _ = out.write_all(&buffer[..read]).and_then(|()| out.flush());
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

/// A run that is killed outright (`kill -9`, the OOM killer) cannot end its children, so the kernel does: make then ends
/// its compilers, and no process writes into a staging folder that the next run removes. The signal is sent when the
/// *thread* that started the child ends; that thread is the one that waits for the child.
fn end_with_parent(command: &mut Command) {
    let parent = rustix::process::getpid();
    let request_signal = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // The parent may have ended before the call above; no signal comes then.
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
        // ESRCH means that the group has ended by itself, which is what we want.
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
        std::thread::sleep(POLL);
    }
    end_group(child.id(), Signal::KILL);
    let _ = child.wait();
}

/// The first line that looks like an error, then the last few: with parallel makes the cause is far above the end.
fn first_error_and_tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let tail_start = lines.len().saturating_sub(8);
    let first = lines[..tail_start].iter().find(|line| line.contains("error:") || line.contains("Error "));
    let mut picked: Vec<&str> = Vec::new();
    if let Some(first) = first {
        picked.extend([*first, "…"]);
    }
    picked.extend(&lines[tail_start..]);
    let shorten = |line: &str| {
        if line.len() > 300 { line.chars().take(300).chain(['…']).collect() } else { line.to_string() }
    };
    picked.into_iter().map(shorten).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
