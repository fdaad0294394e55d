//! One run of one program, and what it reports.

use std::fmt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use diag::Diagnostic;
use elf_gate::inspect;
use process::Task;
use release::context::BuildContext;
use serde_json::Value;

use super::OTHER_ALLOCATOR;

/// An allocator of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Allocator {
    /// The one that ships
    Mimalloc,
    /// `malloc` of the libc that is linked
    Libc,
    /// musl's own
    Mallocng,
    /// musl's own before 1.2.1
    Oldmalloc,
    Jemalloc,
    Snmalloc,
}

impl Allocator {
    pub const SHIPPED: Self = Self::Mimalloc;

    pub fn name(self) -> &'static str {
        match self {
            Self::Mimalloc => "mimalloc",
            Self::Libc => "libc",
            Self::Mallocng => "mallocng",
            Self::Oldmalloc => "oldmalloc",
            Self::Jemalloc => "jemalloc",
            Self::Snmalloc => "snmalloc",
        }
    }

    /// A function that only this allocator has; a program of another one lacks it.
    fn symbol(self) -> &'static str {
        match self {
            Self::Mimalloc => "mi_malloc_aligned",
            // The libc of zig 0.17 implements `malloc` with this one, not with musl's.
            Self::Libc => "heap.SmpAllocator.alloc",
            Self::Mallocng => "mallocng_malloc",
            Self::Oldmalloc => "oldmalloc_malloc",
            Self::Jemalloc => "_rjem_malloc",
            Self::Snmalloc => "sn_rust_alloc",
        }
    }
}

/// Threads and sizes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    pub threads: u64,
    pub sizes: &'static str,
}

impl Load {
    pub const ALL: [Self; 4] = [
        Self { threads: 2, sizes: "small" },
        Self { threads: 8, sizes: "small" },
        Self { threads: 2, sizes: "large" },
        Self { threads: 8, sizes: "large" },
    ];
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes = if self.sizes == "small" { "8 B to 128 B" } else { "1 B to 1 MiB" };
        write!(f, "{} threads, {sizes}", self.threads)
    }
}

/// What one run observed. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub allocator: Allocator,
    pub load: Load,
    /// Replacements of a block per second: one free and one allocation each.
    pub operations_per_second: f64,
    /// Processors that the run had: processor time by time.
    pub processors: f64,
    /// Share of frees by another thread than the one that allocated.
    pub remote_share: f64,
    /// Failed allocations, overwritten blocks, or an end by a signal.
    pub failures: u64,
    pub peak: u64,
    pub at_end: u64,
    pub after_1_s: u64,
    pub after_10_s: u64,
    /// After a call that returns free pages, for an allocator that has one.
    pub after_purge: Option<u64>,
    pub mappings: u64,
}

/// A run without a result: the program ended by a signal, did not end, or could not map its memory.
#[derive(Debug)]
pub struct Missing {
    pub allocator: Allocator,
    pub load: Load,
    pub reason: String,
}

impl Missing {
    pub fn json(&self) -> Value {
        serde_json::json!({
            "allocator": self.allocator.name(), "threads": self.load.threads, "sizes": self.load.sizes,
            "reason": self.reason,
        })
    }
}

const PAGE: u64 = 4096;

impl Run {
    /// Pages that are resident when the blocks are freed, and not 10 s later; with the call that returns them, if there is one.
    pub fn pages_returned(&self) -> u64 {
        self.at_end.saturating_sub(self.after_purge.unwrap_or(self.after_10_s).min(self.after_10_s)) / PAGE
    }

    /// Replacements per second of processor time: other programs on the machine change it little. Time in which threads wait
    /// for a lock is not part of it.
    pub fn operations_per_processor_second(&self) -> f64 {
        self.operations_per_second / self.processors.max(f64::MIN_POSITIVE)
    }

    pub fn json(&self) -> Value {
        serde_json::json!({
            "allocator": self.allocator.name(), "threads": self.load.threads, "sizes": self.load.sizes,
            "operations_per_second": self.operations_per_second, "processors": self.processors,
            "operations_per_processor_second": self.operations_per_processor_second(), "remote_share": self.remote_share,
            "failures": self.failures, "resident_peak": self.peak, "resident_at_end": self.at_end,
            "resident_after_1_s": self.after_1_s, "resident_after_10_s": self.after_10_s,
            "resident_after_purge": self.after_purge, "pages_returned": self.pages_returned(), "mappings": self.mappings,
        })
    }

    fn parse(allocator: Allocator, load: Load, line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        let number = |name: &str| value.get(name)?.as_u64();
        let operations = number("operations")? as f64;
        let seconds = value.get("seconds")?.as_f64()?;
        Some(Self {
            allocator,
            load,
            operations_per_second: operations / seconds,
            processors: value.get("processor_seconds")?.as_f64()? / seconds,
            remote_share: number("remote_frees")? as f64 / operations.max(1.0),
            failures: number("failures")?,
            peak: number("resident_peak")?,
            at_end: number("resident_at_end")?,
            after_1_s: number("resident_after_1_s")?,
            after_10_s: number("resident_after_10_s")?,
            after_purge: number("resident_after_purge"),
            mappings: number("mappings")?,
        })
    }
}

/// Fails when the program has not the allocator of its name, or has that of another one.
pub fn check_symbols(allocator: Allocator, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(program(allocator));
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let facts = inspect(&bytes)?;
    let symbols = facts.symbols.as_ref().context("a program without a symbol table")?;
    let has = |name: &str| symbols.iter().any(|(found, is_defined)| is_defined && found == name.as_bytes());
    // The libc's own may be in every program: C code refers to it.
    let wrong = Allocator::value_variants().iter().find(|other| match **other == allocator {
        true => !has(other.symbol()),
        false => **other != Allocator::Libc && has(other.symbol()),
    });
    match wrong {
        None => Ok(()),
        Some(other) => Err(Diagnostic::new(&OTHER_ALLOCATOR, OTHER_ALLOCATOR.summary)
            .file(path)
            .expected(format!("`{}` and no other", allocator.symbol()))
            .found(format!("{}`{}`", if *other == allocator { "no " } else { "" }, other.symbol()))
            .into()),
    }
}

fn program(allocator: Allocator) -> String {
    format!("larson-{}", allocator.name())
}

/// Runs the program with an empty environment: allocators read options from it.
pub fn run(
    allocator: Allocator,
    load: Load,
    duration: Duration,
    folder: &Path,
    context: &BuildContext,
) -> anyhow::Result<Run> {
    let mut command = Command::new(folder.join(program(allocator)));
    command.env_clear().args([&load.threads.to_string(), &duration.as_secs().to_string(), load.sizes]);
    let quoted = process::quote(&command);
    // 10 s of it are without load; an allocator that does not end is a result too.
    let task = Task::new(format!("run `{}`", program(allocator)), command)
        .timeout(duration + Duration::from_mins(1));
    let output = context.runner.output(task)?;
    let line = output.stdout_text();
    match Run::parse(allocator, load, &line) {
        Some(run) => Ok(run),
        None => Err(Diagnostic::new(&super::super::NOT_MEASURED, super::super::NOT_MEASURED.summary)
            .expected("one line of JSON")
            .found(format!(
                "exit code {}\n{}",
                output.shell_code(),
                String::from_utf8_lossy(&output.stderr).trim()
            ))
            .hint(format!("to run it by hand:\n{quoted}"))
            .into()),
    }
}

/// The kernel's limit of mappings for one process.
pub fn max_map_count() -> u64 {
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    text.trim().parse().unwrap_or(65530)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"allocator":"libc","threads":8,"sizes":"small","seconds":2.5,"processor_seconds":1.25,"operations":5000,"remote_frees":2500,
        "threads_started":8,"failures":0,"live_bytes":1,"resident_idle":1,"resident_peak":90112,"resident_at_end":81920,
        "resident_after_1_s":8192,"resident_after_10_s":8192,"resident_after_purge":null,"mappings":20}"#;

    #[test]
    fn reads_the_report_of_a_program() {
        let run = Run::parse(Allocator::Libc, Load::ALL[1], LINE).unwrap();
        assert_eq!((run.operations_per_second, run.remote_share, run.after_purge), (2000.0, 0.5, None));
        assert_eq!((run.processors, run.operations_per_processor_second()), (0.5, 4000.0));
        assert_eq!(run.pages_returned(), 18);
    }

    #[test]
    fn a_report_that_lacks_a_value_is_no_result() {
        assert_eq!(Run::parse(Allocator::Libc, Load::ALL[1], &LINE.replace("failures", "failed")), None);
        assert_eq!(Run::parse(Allocator::Libc, Load::ALL[1], ""), None);
    }
}
