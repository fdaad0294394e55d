//! The process of a sandbox: enters the namespaces, and runs one program per request.

use std::ffi::OsString;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, chdir, chroot, getrlimit, kill_process_group, setrlimit,
};
use rustix::thread::UnshareFlags;

use super::{End, Patch, Ran, protocol};
use crate::namespaces::Namespaces;

/// A program that computes for longer does not start as its original does.
const CPU_SECONDS: u64 = 2;
/// Address space. Allocators and runtimes reserve gigabytes; headers can demand exabytes.
const ADDRESS_SPACE_BYTES: u64 = 64 << 30;
/// Threads and processes of the sandbox.
const THREADS: u64 = 256;
/// The output beyond it is dropped.
const STDOUT_BYTES: usize = 64 << 10;
/// First and longest interval between two polls of a run.
const POLL_FIRST: Duration = Duration::from_micros(100);
const POLL_MAX: Duration = Duration::from_millis(2);
/// Marks the second process: the first one cannot enter its own process namespace.
const INSIDE: &str = "inside";

/// The process of a sandbox, with the arguments that [`Sandbox::start`](super::Sandbox::start) appends. Returns at the end
/// of the requests. The caller has started no thread.
pub fn serve(arguments: &[OsString]) -> std::io::Result<()> {
    let result = match arguments.split_first() {
        Some((first, rest)) if first == INSIDE => serve_inside(rest),
        _ => start_inside(arguments),
    };
    match result {
        Err(problem) => writeln!(std::io::stdout(), "{problem}"),
        Ok(()) => Ok(()),
    }
}

/// Enters the namespaces and starts the process that becomes the first one of the process namespace.
fn start_inside(arguments: &[OsString]) -> Result<(), String> {
    let flags = UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWPID | UnshareFlags::NEWIPC;
    Namespaces::new(flags).enter().map_err(|(step, error)| format!("cannot {step}: {error}"))?;
    // The words before the arguments of the sandbox select this function in the program.
    let all: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words = &all[..all.len().saturating_sub(arguments.len())];
    let mut inside = Command::new("/proc/self/exe");
    inside.args(words).arg(INSIDE).args(arguments);
    inside.status().map(|_| ()).map_err(|error| format!("cannot start the process of the sandbox: {error}"))
}

/// The program on its own root.
struct Guest {
    /// From the root.
    path: PathBuf,
    args: Vec<OsString>,
    timeout: Duration,
    /// `/dev/null` of the machine; the root has none.
    null: File,
}

fn serve_inside(arguments: &[OsString]) -> Result<(), String> {
    let [root, timeout, file, args @ ..] = arguments else {
        return Err("expected ROOT TIMEOUT FILE ARGS".into());
    };
    let milliseconds = timeout.to_str().and_then(|text| text.parse().ok()).ok_or("TIMEOUT is no number")?;
    let null = File::options().read(true).write(true).open("/dev/null");
    let guest = Guest {
        path: enter_root(Path::new(root), Path::new(file))?,
        args: args.to_vec(),
        timeout: Duration::from_millis(milliseconds),
        null: null.map_err(|error| format!("cannot open /dev/null: {error}"))?,
    };
    let mut answers = std::io::stdout().lock();
    let send = |answers: &mut dyn Write, line: &str| {
        answers.write_all(line.as_bytes()).and_then(|()| answers.flush()).map_err(|error| error.to_string())
    };
    send(&mut answers, &format!("{}\n", protocol::READY))?;
    for line in std::io::stdin().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let patches = protocol::parse_request(&line).ok_or("not a request")?;
        let ran = guest.run_patched(&patches).map_err(|error| format!("cannot patch the file: {error}"))?;
        send(&mut answers, &protocol::answer(&ran))?;
    }
    Ok(())
}

/// A tmpfs with a copy of the file and `/proc` becomes the root. The copy keeps its name: some programs read it.
fn enter_root(root: &Path, file: &Path) -> Result<PathBuf, String> {
    let name = file.file_name().ok_or("the program has no name")?;
    let step = |what: &'static str| move |error| format!("cannot {what}: {error}");
    mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(step("make the mounts private"))?;
    mount(c"tmpfs", root, c"tmpfs", MountFlags::empty(), None).map_err(step("mount a tmpfs"))?;
    let copy = || {
        let mut from = File::open(file)?;
        let mut to = File::options().write(true).create_new(true).mode(0o755).open(root.join(name))?;
        std::io::copy(&mut from, &mut to)
    };
    copy().map_err(|error: std::io::Error| format!("cannot copy the program: {error}"))?;
    // Some runtimes read `/proc/self/exe`. A container may forbid it; then such programs report that they do not start.
    let proc = root.join("proc");
    std::fs::create_dir(&proc).map_err(|error| format!("cannot create /proc: {error}"))?;
    let _ = mount(c"proc", &proc, c"proc", MountFlags::RDONLY, None);
    chroot(root).map_err(step("change the root"))?;
    chdir(c"/").map_err(step("change to the new root"))?;
    Ok(Path::new("/").join(name))
}

impl Guest {
    fn run_patched(&self, patches: &[Patch]) -> std::io::Result<Ran> {
        let original = self.patch(patches)?;
        let ran = self.run();
        // In the other order, because patches may overlap.
        let original: Vec<Patch> = original.into_iter().rev().collect();
        self.patch(&original)?;
        ran
    }

    /// Returns what was there.
    fn patch(&self, patches: &[Patch]) -> std::io::Result<Vec<Patch>> {
        if patches.is_empty() {
            return Ok(Vec::new());
        }
        // Closed before the start: the kernel executes no file that is open for writing.
        let file = File::options().read(true).write(true).open(&self.path)?;
        patches
            .iter()
            .map(|patch| {
                let mut before = vec![0; patch.bytes.len()];
                file.read_exact_at(&mut before, patch.offset)?;
                file.write_all_at(&patch.bytes, patch.offset)?;
                Ok(Patch { offset: patch.offset, bytes: before })
            })
            .collect()
    }

    fn run(&self) -> std::io::Result<Ran> {
        let mut command = Command::new(&self.path);
        command.args(&self.args).env_clear().process_group(0);
        command.stdin(self.null.try_clone()?).stdout(Stdio::piped()).stderr(self.null.try_clone()?);
        // SAFETY: runs in the child between fork and exec; getrlimit and setrlimit are plain system calls, and neither they
        // nor the error made here allocate.
        unsafe { command.pre_exec(limit_resources) };
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let end = End::NotStarted(error.raw_os_error().unwrap_or(0));
                return Ok(Ran { end, stdout: Vec::new() });
            }
        };
        let mut pipe = child.stdout.take();
        if let Some(pipe) = &pipe {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        let mut stdout = Vec::new();
        let end = self.wait(&mut child, &mut pipe, &mut stdout);
        // What it started and left.
        end_group(&child);
        drain(&mut pipe, &mut stdout);
        Ok(Ran { end: end?, stdout })
    }

    fn wait(
        &self,
        child: &mut Child,
        pipe: &mut Option<ChildStdout>,
        stdout: &mut Vec<u8>,
    ) -> std::io::Result<End> {
        let started = Instant::now();
        let mut interval = POLL_FIRST;
        loop {
            drain(pipe, stdout);
            if let Some(status) = child.try_wait()? {
                let killed = status.signal().map(End::Killed);
                return Ok(killed.unwrap_or(End::Exited(status.code().unwrap_or(0))));
            }
            if started.elapsed() > self.timeout {
                end_group(child);
                child.wait()?;
                return Ok(End::TimedOut);
            }
            std::thread::sleep(interval);
            interval = (interval * 2).min(POLL_MAX);
        }
    }
}

/// Reads what is there; an error ends the reading, and the exit status of the program tells the rest.
fn drain(pipe: &mut Option<ChildStdout>, stdout: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    while let Some(open) = pipe {
        match open.read(&mut buffer) {
            Ok(read @ 1..) => {
                let space = STDOUT_BYTES.saturating_sub(stdout.len());
                stdout.extend_from_slice(&buffer[..read.min(space)]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            _ => *pipe = None,
        }
    }
}

fn end_group(child: &Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        // ESRCH: the group has ended.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

/// In the child between fork and exec.
fn limit_resources() -> std::io::Result<()> {
    for (resource, limit) in [
        (Resource::Cpu, CPU_SECONDS),
        (Resource::As, ADDRESS_SPACE_BYTES),
        (Resource::Nproc, THREADS),
        (Resource::Core, 0),
        // No file grows; pipes have no limit.
        (Resource::Fsize, 0),
    ] {
        // A hard limit of this process that is lower stays.
        let maximum = getrlimit(resource).maximum.map_or(limit, |maximum| maximum.min(limit));
        setrlimit(resource, Rlimit { current: Some(maximum), maximum: Some(maximum) })?;
    }
    Ok(())
}
