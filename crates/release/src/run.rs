//! Child processes: started with the environment that the plan gives, logged, timed, and ended with us.
//!
//! Every child leads a process group of its own, so that Ctrl-C (or a time-out) ends the whole tree under it — make and
//! the compilers it started — before we return. A failure quotes the command so that it can be pasted, and names its log.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process_group};

use crate::failure::{Abandoned, Failure, Interrupted};

/// How long a child may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);
/// Captured output is for messages and small JSON; a child that talks for ever must not fill our memory.
const CAPTURE_BYTES_MAX: usize = 16 << 20;

/// Starts children and watches for signals. One for the whole run.
#[derive(Clone)]
pub struct Runner {
    interrupted: Arc<AtomicBool>,
    /// Set by work at our side that has failed: ours is of no use any more.
    abandoned: Arc<AtomicBool>,
    verbose: bool,
}

/// One child process to be.
pub struct Job {
    what: String,
    command: Command,
    log: Option<PathBuf>,
    show: bool,
    echo: bool,
    timeout: Option<Duration>,
    stdin: Vec<u8>,
    hint: Option<&'static str>,
    watch: Option<Box<dyn FnMut() + Send>>,
}

/// A child that has ended, in whatever way.
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub elapsed: Duration,
}

impl Finished {
    /// As a shell would say it: 128 + signal when a signal ended the child.
    pub fn shell_code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_string()
    }
}

impl Job {
    /// `what` completes the sentence "could not …".
    pub fn new(what: impl Into<String>, command: Command) -> Self {
        Self {
            what: what.into(),
            command,
            log: None,
            show: false,
            echo: false,
            timeout: None,
            stdin: Vec::new(),
            hint: None,
            watch: None,
        }
    }

    /// Both streams go to this file instead of being captured.
    pub fn log(mut self, path: impl Into<PathBuf>) -> Self {
        self.log = Some(path.into());
        self
    }

    /// Stderr goes to ours: for children whose own progress people want to see.
    pub fn show(mut self, show: bool) -> Self {
        self.show = show;
        self
    }

    /// Stdout is passed on to ours as it comes, besides being captured.
    pub fn echo(mut self) -> Self {
        self.echo = true;
        self
    }

    /// What helps when it fails, for commands that make no sense by hand: their files are gone by then.
    pub fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    /// Called at every poll while the child runs: for progress that is read from its log.
    pub fn watch(mut self, watch: impl FnMut() + Send + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }
}

impl Runner {
    /// Registers for SIGINT, SIGTERM and SIGHUP. The first one is honoured between two polls; a second one ends us at once.
    pub fn new() -> anyhow::Result<Self> {
        let interrupted = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            // The order matters: the shutdown handler looks at the flag before this signal has set it.
            signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&interrupted))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&interrupted)))
                .context("registering signal handlers")?;
        }
        Ok(Self { interrupted, abandoned: Arc::default(), verbose: false })
    }

    /// Prints each command before it is run.
    pub fn verbose(self, verbose: bool) -> Self {
        Self { verbose, ..self }
    }

    /// One that no signal reaches, for tests.
    #[cfg(test)]
    pub fn deaf() -> Self {
        Self { interrupted: Arc::default(), abandoned: Arc::default(), verbose: false }
    }

    /// Fails when a signal has come in; long work that is not a child calls it now and then.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            Err(Interrupted.into())
        } else if self.abandoned.load(Ordering::Relaxed) {
            Err(Abandoned.into())
        } else {
            Ok(())
        }
    }

    /// One for work that goes on side by side: what [`Runner::abandon`] ends is the children of this one and its clones.
    pub fn side_by_side(&self) -> Self {
        Self { abandoned: Arc::default(), ..self.clone() }
    }

    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Runs to the end; anything but exit 0 is an error that quotes the command.
    pub fn run(&self, job: Job) -> anyhow::Result<Finished> {
        let quoted = quote(&job.command);
        let what = job.what.clone();
        let log = job.log.clone();
        let better = job.hint;
        let finished = self.finish(job)?;
        if finished.status.success() {
            return Ok(finished);
        }
        let tail = match &log {
            Some(path) => first_error_and_tail(&std::fs::read_to_string(path).unwrap_or_default()),
            None => first_error_and_tail(&String::from_utf8_lossy(&finished.stderr)),
        };
        let hint = match &log {
            Some(path) => format!("the whole log is {}; to run it by hand:\n{quoted}", path.display()),
            None => format!("to run it by hand:\n{quoted}"),
        };
        let hint = better.map_or(hint, String::from);
        Err(Failure::new(format!("could not {what}"))
            .expected("exit code 0")
            .found(format!(
                "exit code {}{}",
                finished.shell_code(),
                if tail.is_empty() { String::new() } else { format!("\n{tail}") }
            ))
            .hint(hint)
            .into())
    }

    /// Runs to the end, whatever the exit code. Errors are: not started, timed out, interrupted.
    pub fn finish(&self, mut job: Job) -> anyhow::Result<Finished> {
        self.check()?;
        let quoted = quote(&job.command);
        if self.verbose {
            eprintln!("+ {quoted}");
        }
        let command = &mut job.command;
        command.process_group(0);
        command.stdin(if job.stdin.is_empty() { Stdio::null() } else { Stdio::piped() });
        match &job.log {
            Some(path) => {
                let file = create_log(path)?;
                let twin = file.try_clone().context("duplicating a log's file handle")?;
                command.stdout(file).stderr(twin);
            }
            None => {
                command.stdout(Stdio::piped());
                command.stderr(if job.show { Stdio::inherit() } else { Stdio::piped() });
            }
        }
        end_with_us(command);
        let started = Instant::now();
        let mut child = command.spawn().map_err(|error| {
            Failure::new(format!("could not {}: {error}", job.what))
                .hint(format!("to run it by hand:\n{quoted}"))
        })?;
        let writer = child.stdin.take().map(|mut pipe| {
            let bytes = std::mem::take(&mut job.stdin);
            // A child that does not read to the end is its own affair: its exit code tells.
            std::thread::spawn(move || drop(pipe.write_all(&bytes)))
        });
        let stdout = child.stdout.take().map(|pipe| capture(pipe, job.echo));
        let stderr = child.stderr.take().map(|pipe| capture(pipe, false));
        let status = self.wait(&mut child, &mut job, &quoted)?;
        if let Some(writer) = writer {
            let _ = writer.join();
        }
        let collect = |reader: Option<JoinHandle<Vec<u8>>>| {
            reader.map_or_else(Vec::new, |thread| thread.join().unwrap_or_default())
        };
        Ok(Finished { status, stdout: collect(stdout), stderr: collect(stderr), elapsed: started.elapsed() })
    }

    fn wait(&self, child: &mut Child, job: &mut Job, quoted: &str) -> anyhow::Result<ExitStatus> {
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
            if let Some(timeout) = job.timeout.filter(|timeout| started.elapsed() > *timeout) {
                end(child);
                return Err(Failure::new(format!("could not {}: it did not end in time", job.what))
                    .expected(format!("an end within {timeout:?}"))
                    .hint(format!("to run it by hand:\n{quoted}"))
                    .into());
            }
            if let Some(watch) = &mut job.watch {
                watch();
            }
            std::thread::sleep(POLL);
        }
    }
}

fn capture(mut pipe: impl Read + Send + 'static, echo: bool) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let mut buffer = [0; 8192];
        // A read error here means the pipe broke with the child, whose exit code is reported.
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            let room = CAPTURE_BYTES_MAX - bytes.len();
            bytes.extend_from_slice(&buffer[..read.min(room)]);
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
/// its compilers, and nobody writes into a staging folder that the next run sweeps. The signal is sent when the *thread*
/// that started the child ends; that thread is the one that waits for the child.
fn end_with_us(command: &mut Command) {
    let us = rustix::process::getpid();
    let ask = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // We may have died before the call above, and then no signal will come.
        if rustix::process::getppid() != Some(us) {
            return Err(std::io::ErrorKind::Interrupted.into());
        }
        Ok(())
    };
    // SAFETY: runs in the child between fork and exec, where only async-signal-safe calls are allowed: prctl and getppid
    // are plain system calls, and neither they nor the errors made here allocate.
    unsafe { command.pre_exec(ask) };
}

fn end_group(id: u32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(id as i32) {
        // ESRCH means that the group has ended by itself, which is what we want.
        let _ = kill_process_group(pid, signal);
    }
}

fn end(child: &mut Child) {
    end_group(child.id(), Signal::TERM);
    let asked = Instant::now();
    while asked.elapsed() < GRACE {
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(POLL);
    }
    end_group(child.id(), Signal::KILL);
    let _ = child.wait();
}

/// The command as a person can paste it into a shell: changed variables, program, arguments, folder.
pub fn quote(command: &Command) -> String {
    let mut words = Vec::new();
    if let Some(folder) = command.get_current_dir() {
        words.push(format!("cd {} &&", quote_word(folder.as_os_str())));
    }
    for (name, value) in command.get_envs() {
        // What the reader's shell has already would only bury the command, and may hold a proxy's or a registry's password.
        let known = value.is_some() && std::env::var_os(name).as_deref() == value;
        if let Some(value) = value.filter(|_| !known) {
            words.push(format!("{}={}", name.to_string_lossy(), quote_word(value)));
        }
    }
    words.push(quote_word(command.get_program()));
    words.extend(command.get_args().map(quote_word));
    words.join(" ")
}

fn quote_word(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
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

/// CPU seconds of all children that have ended: with the wall clock it says how busy the cores were.
pub fn children_cpu_seconds() -> f64 {
    // Fields 16 and 17 (cutime, cstime) after the command name, in ticks of 1/100 s on Linux.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let ticks: f64 =
        after_name.split(' ').skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    ticks / 100.0
}

#[cfg(test)]
mod tests;
