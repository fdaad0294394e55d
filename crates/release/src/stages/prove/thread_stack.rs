//! The stack of a thread with default attributes, measured from outside while the program runs: the mapping that holds the
//! thread's stack pointer, between its guard page and its end. The process is stopped for each look, so that every thread
//! has a stack pointer to read and none ends meanwhile.
//!
//! A thread that sets its own size proves nothing, and from outside the two look alike. The thread is therefore chosen by
//! the name that release.toml gives; without one, only threads count that have taken no name of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use process::quote;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use units::ByteSize;

use super::{Conclusion, Observation, ProofContext};

pub(super) const NAME: &str = "thread-stack";

/// musl adds thread-local storage and its own record of the thread to the stack, all of it above the stack pointer.
const OVERHEAD_MAX: u64 = 256 << 10;
/// Between two looks at the threads. A thread may live for less than a millisecond.
const POLL: Duration = Duration::from_micros(100);
/// The kernel stops a process at its next return from the kernel.
const STOP_TIME_MAX: Duration = Duration::from_millis(100);
/// A short-lived thread may end between two looks; a run is cheap.
const ATTEMPTS: u32 = 20;

pub(super) fn observe(context: &ProofContext) -> anyhow::Result<Observation> {
    let declared = context.config.thread_stack.as_ref();
    let args = declared.map_or(&context.config.start_args, |declared| &declared.args);
    let command = || {
        let mut command = Command::new(context.file.path());
        command.env_clear().args(args.iter().map(|arg| context.expand(arg)));
        if let Some(declared) = declared {
            command.envs(&declared.env);
        }
        command
    };
    let started = Instant::now();
    let mut watched = Watched::new(declared.and_then(|declared| declared.thread.clone()));
    for _ in 0..ATTEMPTS {
        watch(context, command(), &mut watched)?;
        if watched.has_thread() || started.elapsed() > context.config.timeout.0 {
            break;
        }
    }
    let (conclusion, found) = watched.conclude(context.stack_size, declared.is_some());
    Ok(Observation {
        name: NAME.into(),
        conclusion,
        permission: None,
        expected: format!("{} has a stack of {}", watched.description(), context.stack_size),
        found,
        command: quote(&command()),
        elapsed: started.elapsed(),
    })
}

/// The threads that were seen.
#[derive(Debug, Default)]
struct Watched {
    /// The name that a thread must have; without it, that of the process.
    wanted: Option<String>,
    process_name: String,
    threads: BTreeMap<u32, Thread>,
    /// Why nothing can be seen.
    problem: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Thread {
    name: String,
    stack: Stack,
    /// A new thread has the name of its process until it takes one, so the absence of a name counts from the second look on.
    looks: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stack {
    /// From the guard page to the end of the mapping.
    mapped_bytes: u64,
    /// From the guard page to the stack pointer.
    free_bytes: u64,
}

impl Stack {
    /// The kernel may merge the mapping above into the one of the stack; the space below the stack pointer then decides.
    fn is(self, promised: ByteSize) -> bool {
        let merged = self.mapped_bytes > promised.0 + OVERHEAD_MAX;
        let bytes = if merged { self.free_bytes + OVERHEAD_MAX } else { self.mapped_bytes };
        bytes >= promised.0 && self.free_bytes <= promised.0 + OVERHEAD_MAX
    }
}

impl Watched {
    fn new(wanted: Option<String>) -> Self {
        Self { wanted, ..Self::default() }
    }

    fn description(&self) -> String {
        match &self.wanted {
            Some(name) => format!("a thread named `{name}`"),
            None => "a thread without a name of its own".into(),
        }
    }

    fn counts(&self, thread: &Thread) -> bool {
        match &self.wanted {
            Some(name) => thread.name == *name,
            None => thread.name == self.process_name && thread.looks > 1,
        }
    }

    fn has_thread(&self) -> bool {
        self.threads.values().any(|thread| self.counts(thread))
    }

    /// A declared run that starts no such thread breaks its declaration; otherwise nothing was measured.
    fn conclude(&self, promised: ByteSize, is_declared: bool) -> (Conclusion, String) {
        let stacks: Vec<Stack> =
            self.threads.values().filter(|thread| self.counts(thread)).map(|thread| thread.stack).collect();
        let missing = if is_declared { Conclusion::Violated } else { Conclusion::NotMeasured };
        let describe =
            |stack: &Stack| format!("{} mapped above its guard", ByteSize(stack.mapped_bytes).rounded());
        match (stacks.iter().find(|stack| !stack.is(promised)), stacks.first(), &self.problem) {
            // A thread without a name may still have set its own size; only a declaration says that it has not.
            (Some(other), _, _) => (missing, describe(other)),
            (None, Some(stack), _) => (Conclusion::Holds, describe(stack)),
            (None, None, Some(problem)) => (Conclusion::NotMeasured, problem.clone()),
            (None, None, None) if self.threads.is_empty() => (missing, "starts no thread".into()),
            (None, None, None) => {
                let names: BTreeSet<&str> =
                    self.threads.values().map(|thread| thread.name.as_str()).collect();
                (missing, format!("other threads: {}", names.into_iter().collect::<Vec<_>>().join(", ")))
            }
        }
    }
}

/// The child and its group, ended on drop.
struct Running {
    child: Child,
    id: Pid,
}

impl Drop for Running {
    fn drop(&mut self) {
        // ESRCH means that the group has ended by itself.
        let _ = kill_process_group(self.id, Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Runs the program with an open standard input until the thread was seen, the program ends, or time is up.
fn watch(context: &ProofContext, mut command: Command, watched: &mut Watched) -> anyhow::Result<()> {
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            watched.problem = Some(format!("not started: {error}"));
            return Ok(());
        }
    };
    let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).context("the id of a child process")?;
    let mut running = Running { child, id };
    let process = Process { folder: Path::new("/proc").join(running.child.id().to_string()), id };
    let started = Instant::now();
    watched.threads.clear();
    loop {
        context.runner.check()?;
        process.look(watched);
        let has_ended = matches!(running.child.try_wait(), Ok(Some(_)) | Err(_));
        if watched.has_thread() || has_ended || started.elapsed() > context.config.timeout.0 {
            return Ok(());
        }
        std::thread::sleep(POLL);
    }
}

/// A running process in `/proc`.
struct Process {
    folder: PathBuf,
    id: Pid,
}

impl Process {
    /// Reads the names of known threads, and the stacks of new ones.
    fn look(&self, watched: &mut Watched) {
        let mut is_new = false;
        for task in self.tasks() {
            match watched.threads.get_mut(&task) {
                Some(thread) => {
                    thread.looks += 1;
                    thread.name = self.thread_name(task).unwrap_or_else(|| thread.name.clone());
                }
                None => is_new = true,
            }
        }
        if is_new {
            // ESRCH: the process has ended, and there is nothing to read.
            let _ = kill_process(self.id, Signal::STOP);
            self.wait_until_stopped();
            self.read_stacks(watched);
            let _ = kill_process(self.id, Signal::CONT);
        }
    }

    /// All threads but the first one, which has the stack of the process.
    fn tasks(&self) -> Vec<u32> {
        let entries = std::fs::read_dir(self.folder.join("task")).into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        ids.filter(|id| i32::try_from(*id) != Ok(self.id.as_raw_nonzero().get())).collect()
    }

    fn read(&self, path: &str) -> std::io::Result<String> {
        std::fs::read_to_string(self.folder.join(path))
    }

    fn thread_name(&self, task: u32) -> Option<String> {
        Some(self.read(&format!("task/{task}/comm")).ok()?.trim_end().to_string())
    }

    fn wait_until_stopped(&self) {
        let started = Instant::now();
        let is_stopped = || {
            let stat = self.read("stat").unwrap_or_default();
            stat.rsplit(") ").next().is_none_or(|fields| !fields.starts_with(['R', 'S', 'D']))
        };
        while !is_stopped() && started.elapsed() < STOP_TIME_MAX {
            std::thread::yield_now();
        }
    }

    fn read_stacks(&self, watched: &mut Watched) {
        watched.process_name = self.read("comm").unwrap_or_default().trim_end().to_string();
        let maps = self.read("maps").unwrap_or_default();
        for task in self.tasks() {
            let pointer = match self.read(&format!("task/{task}/syscall")) {
                Ok(text) => stack_pointer(&text),
                Err(error) => {
                    if error.kind() == std::io::ErrorKind::PermissionDenied {
                        watched.problem = Some(format!("cannot read a thread's registers: {error}"));
                    }
                    None
                }
            };
            let stack = pointer.and_then(|pointer| stack_of(&maps, pointer));
            if let (Some(stack), Some(name)) = (stack, self.thread_name(task)) {
                let looks = watched.threads.get(&task).map_or(1, |known| known.looks);
                watched.threads.insert(task, Thread { name, stack, looks });
            }
        }
    }
}

/// The last but one field of `/proc/PID/task/TID/syscall`; a thread that runs has only the word `running`.
fn stack_pointer(syscall: &str) -> Option<u64> {
    let fields: Vec<&str> = syscall.split_whitespace().collect();
    let pointer = fields.len().checked_sub(2).and_then(|index| fields.get(index))?;
    u64::from_str_radix(pointer.strip_prefix("0x")?, 16).ok()
}

/// The mapping that holds the stack pointer, when a mapping without any permission lies right below it.
fn stack_of(maps: &str, pointer: u64) -> Option<Stack> {
    let mut guard_end = None;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        if (start..end).contains(&pointer) {
            return (guard_end == Some(start) && rest.starts_with("rw"))
                .then(|| Stack { mapped_bytes: end - start, free_bytes: pointer - start });
        }
        guard_end = rest.starts_with("---").then_some(end);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
        7f2c743f4000-7f2c743f6000 ---p 00000000 00:00 0\n\
        7f2c743f6000-7f2c74bf7000 rw-p 00000000 00:00 0\n\
        7f2c76400000-7f2c86400000 rw-p 00000000 00:00 0\n\
        7fff26340000-7fff26361000 rw-p 00000000 00:00 0   [stack]\n";
    const PROMISED: ByteSize = ByteSize(8 << 20);

    fn stack(mapped_bytes: u64, free_bytes: u64) -> Stack {
        Stack { mapped_bytes, free_bytes }
    }

    #[test]
    fn the_stack_lies_between_its_guard_and_the_end_of_its_mapping() {
        let found = stack_of(MAPS, 0x7f2c_74bf_63e0).unwrap();
        assert_eq!(found, stack(0x80_1000, 0x80_03e0));
        assert!(found.is(PROMISED));
        assert_eq!(stack_of(MAPS, 0x7f2c_7640_1000), None, "a mapping without a guard is no stack");
        assert_eq!(stack_of(MAPS, 1), None);
    }

    #[test]
    fn the_stack_pointer_is_the_last_but_one_field() {
        let blocked = "202 0x7f2c763ff844 0x80 0x2 0x0 0x0 0x0 0x7f2c763ff7b0 0x19bf48f\n";
        assert_eq!(stack_pointer(blocked), Some(0x7f2c_763f_f7b0));
        assert_eq!(stack_pointer("running\n"), None);
        assert_eq!(stack_pointer("-1 0x7f 0x1\n"), Some(0x7f));
    }

    #[test]
    fn only_the_promised_size_is_accepted() {
        for (mapped, free, is_promised) in [
            (8 << 20, 1 << 20, true),
            ((8 << 20) + 4096, 7 << 20, true),
            ((2 << 20) + 4096, 1 << 20, false),
            ((128 << 10) + 4096, 100 << 10, false),
            ((8 << 20) - 4096, 7 << 20, false),
            // Merged with the mapping above.
            (64 << 20, (8 << 20) - 4096, true),
            (64 << 20, 2 << 20, false),
            (64 << 20, 32 << 20, false),
        ] {
            assert_eq!(stack(mapped, free).is(PROMISED), is_promised, "{mapped} mapped, {free} free");
        }
    }

    fn watched(wanted: Option<&str>, threads: &[(&str, u64, u32)]) -> Watched {
        let thread = |(id, (name, mapped, looks)): (u32, &(&str, u64, u32))| {
            (id, Thread { name: (*name).into(), stack: stack(*mapped, mapped - 4096), looks: *looks })
        };
        Watched {
            wanted: wanted.map(String::from),
            process_name: "p".into(),
            threads: (0..).zip(threads).map(thread).collect(),
            problem: None,
        }
    }

    #[test]
    fn threads_count_by_their_name() {
        use Conclusion::{Holds, NotMeasured, Violated};
        let (promised, default, own) = (8 << 20, 132 << 10, 2 << 20);
        for (wanted, threads, declared, expected) in [
            (None, &[("p", promised, 2), ("named", own, 2)][..], false, Holds),
            (None, &[("p", promised, 1)], false, NotMeasured),
            (None, &[("named", promised, 2)], false, NotMeasured),
            (None, &[("p", default, 2)], true, Violated),
            (None, &[("p", default, 2)], false, NotMeasured),
            (None, &[], true, Violated),
            (None, &[], false, NotMeasured),
            (Some("t"), &[("t", promised, 1)], true, Holds),
            (Some("t"), &[("t", default, 1), ("embed-0", promised, 9)], true, Violated),
            (Some("t"), &[("embed-0", promised, 9)], true, Violated),
        ] {
            let (found, text) = watched(wanted, threads).conclude(PROMISED, declared);
            assert_eq!(found, expected, "{threads:?}, declared: {declared}: {text}");
        }
    }

    #[test]
    fn registers_that_cannot_be_read_are_not_measured() {
        let watched = Watched { problem: Some("denied".into()), ..watched(None, &[]) };
        assert_eq!(watched.conclude(PROMISED, true), (Conclusion::NotMeasured, "denied".into()));
    }
}
