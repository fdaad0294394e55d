//! The stages of a release: one table for timing, progress, `--plan`, the summary and the tables in the documentation.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use diag::{Event, Events};
use process::CpuTime;
use serde::Serialize;

/// A stage by its name. The order is the order of execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageId {
    /// Tools.
    Toolchain,
    /// Source archives of native libraries.
    Sources,
    /// Native libraries.
    Native,
    /// The binary with symbols.
    Link,
    /// The binary without symbols, and the debug file.
    Strip,
    /// The compressed binary.
    Pack,
    /// Damaged copies against the gate.
    Mutation,
    /// Runs of the packed file.
    Prove,
    /// The container image.
    Image,
    /// Files under their final names.
    Publish,
}

/// One row of [`STAGES`].
#[derive(Debug, Serialize)]
pub struct StageInfo {
    /// The stage.
    #[serde(skip)]
    pub id: StageId,
    /// Its name in every output.
    pub name: &'static str,
    /// The type that it returns. Only the stage's module constructs it.
    pub returns: &'static str,
    /// What it does: a clause without a subject.
    pub description: &'static str,
    /// What must hold before the next stage starts.
    pub must_hold: &'static str,
}

/// All stages in their order.
pub static STAGES: [StageInfo; 10] = [
    StageInfo {
        id: StageId::Toolchain,
        name: "toolchain",
        returns: "Toolchain",
        description: "installs zig, UPX, qemu-user for emulated proofs, and a Rust standard library for musl, from the machine, the cache or a download",
        must_hold: "each tool has its pinned version; a download has its pinned digest",
    },
    StageInfo {
        id: StageId::Sources,
        name: "sources",
        returns: "Sources",
        description: "fetches the source archives of native libraries that are not compiled yet",
        must_hold: "a pinned archive has its digest",
    },
    StageInfo {
        id: StageId::Native,
        name: "native",
        returns: "NativeLibs",
        description: "verifies, patches and compiles the native libraries, while cargo compiles the Rust libraries",
        must_hold: "each source file has its digest; patches apply exactly, between guards; the archive shows every patch and kernel",
    },
    StageInfo {
        id: StageId::Link,
        name: "link",
        returns: "Linked",
        description: "links the binary for the musl target",
        must_hold: "gate `linked`: stack size, static, symbols, build-id; each function that a patch changes is linked, and a trace of each crate is found",
    },
    StageInfo {
        id: StageId::Strip,
        name: "strip",
        returns: "Stripped",
        description: "splits the debug file off, then strips symbols",
        must_hold: "gate `stripped`: no symbols left; the debug file belongs to the binary; the list of crates is in it",
    },
    StageInfo {
        id: StageId::Pack,
        name: "pack",
        returns: "Packed",
        description: "packs the binary with UPX and unpacks it again",
        must_hold: "gate `packed`: outer and inner headers, checksums; unpacking returns the stripped file byte for byte",
    },
    StageInfo {
        id: StageId::Mutation,
        name: "mutation",
        returns: "MutationTested",
        description: "damages copies of the three files and judges them",
        must_hold: "each damaged copy violates the rule that is meant for the damage",
    },
    StageInfo {
        id: StageId::Prove,
        name: "prove",
        returns: "Proved",
        description: "runs the packed file: the proofs of release.toml",
        must_hold: "every proof holds; the bytes are the same afterwards",
    },
    StageInfo {
        id: StageId::Image,
        name: "image",
        returns: "Image",
        description: "builds a container image of the proved binary",
        must_hold: "the image holds the bytes that were proved, and what the program reads: certificates, time zones",
    },
    StageInfo {
        id: StageId::Publish,
        name: "publish",
        returns: "Release",
        description: "writes files, bills of materials, SHA256SUMS and dist-manifest.json, then renames them into dist/",
        must_hold: "files on disk and in the image have the digests of what was proved",
    },
];

impl StageId {
    /// The row of the table.
    pub fn info(self) -> &'static StageInfo {
        &STAGES[self as usize]
    }

    /// The name in every output.
    pub fn name(self) -> &'static str {
        self.info().name
    }
}

/// The stages as a Markdown table for README.md and docs/release.md.
pub fn markdown() -> String {
    let mut text = String::from("| stage | does | what must hold |\n|---|---|---|\n");
    for stage in &STAGES {
        let _ = writeln!(text, "| {} | {} | {} |", stage.name, stage.description, stage.must_hold);
    }
    text
}

/// The stages with modules and types as a Markdown table for ARCHITECTURE.md.
pub fn architecture_markdown() -> String {
    let mut text = String::from(
        "| stage | module of `crates/release` | returns | what must hold |\n|---|---|---|---|\n",
    );
    for stage in &STAGES {
        let StageInfo { name, returns, must_hold, .. } = stage;
        let _ = writeln!(text, "| {name} | `stages::{name}` | `{returns}` | {must_hold} |");
    }
    text
}

/// Elapsed and processor time of one stage or of a whole run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StageTime {
    /// Elapsed time.
    pub wall: Duration,
    /// Processor time of this process and of its children that ended, each counted once.
    pub cpu: Duration,
}

impl StageTime {
    /// Processor time over elapsed time, at most `cores`. The kernel counts processor time in ticks, so a stage shorter than
    /// a tick can seem to take more than all cores.
    pub fn busy_cores(self, cores: usize) -> f64 {
        let busy = self.cpu.as_secs_f64() / self.wall.as_secs_f64().max(1e-3);
        busy.min(cores as f64)
    }
}

/// Measures the stages of one run and reports each as an event.
#[derive(Debug)]
pub struct StageTimes {
    started: (Instant, CpuTime),
    rows: Vec<(StageId, StageTime)>,
}

impl Default for StageTimes {
    fn default() -> Self {
        Self::since(Instant::now(), CpuTime::now())
    }
}

impl StageTimes {
    /// The total counts from `started`: the start of the verb, so that it includes the planning.
    pub fn since(started: Instant, cpu: CpuTime) -> Self {
        Self { started: (started, cpu), rows: Vec::new() }
    }

    /// Runs one stage. Stages do not overlap and a stage waits for its children, so no processor time is counted twice.
    pub fn measure<T>(
        &mut self,
        events: &Events,
        stage: StageId,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        events.emit(&Event::StageStarted { stage: stage.name() });
        let (started, cpu) = (Instant::now(), CpuTime::now());
        let result = work();
        let time = StageTime { wall: started.elapsed(), cpu: CpuTime::now().since(cpu) };
        events.emit(&Event::StageFinished { stage: stage.name(), wall: time.wall, cpu: time.cpu });
        self.rows.push((stage, time));
        result
    }

    /// The stages that ran, in their order.
    pub fn rows(&self) -> &[(StageId, StageTime)] {
        &self.rows
    }

    /// From the start of the verb to now.
    pub fn total(&self) -> StageTime {
        let (started, cpu) = self.started;
        StageTime { wall: started.elapsed(), cpu: CpuTime::now().since(cpu) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_ids() {
        for (index, stage) in STAGES.iter().enumerate() {
            assert_eq!(stage.id as usize, index, "{}", stage.name);
            assert_eq!(stage.id.name(), stage.name);
            assert!(!stage.description.contains('|') && !stage.must_hold.contains('|'), "{}", stage.name);
        }
    }

    #[test]
    fn a_stage_never_shows_more_busy_cores_than_the_machine_has() {
        let of = |wall, cpu| StageTime { wall: Duration::from_millis(wall), cpu: Duration::from_millis(cpu) };
        // One tick of 10 ms in a stage of 2 ms.
        assert!((of(2, 10).busy_cores(2) - 2.0).abs() < 1e-9);
        assert!((of(1000, 1500).busy_cores(2) - 1.5).abs() < 1e-9);
        assert!(of(0, 0).busy_cores(2).abs() < 1e-9);
    }

    #[test]
    fn own_work_is_counted_and_the_total_includes_every_stage() {
        let mut times = StageTimes::default();
        let spin = || {
            // By CPU time: on a loaded machine a thread gets only a part of the time on the clock.
            let (start, mut sum) = (CpuTime::now(), 0_u64);
            while CpuTime::now().since(start) < Duration::from_millis(30) {
                for _ in 0..100_000 {
                    sum = std::hint::black_box(sum.wrapping_add(1));
                }
            }
            Ok(())
        };
        for stage in [StageId::Link, StageId::Strip] {
            times.measure(&Events::none(), stage, spin).unwrap();
        }
        let total = times.total();
        let (wall, cpu): (Vec<_>, Vec<_>) =
            times.rows().iter().map(|(_, time)| (time.wall, time.cpu)).unzip();
        assert!(cpu.iter().sum::<Duration>() > Duration::from_millis(20), "{cpu:?}");
        assert!(total.wall >= wall.iter().sum() && total.cpu >= cpu.iter().sum(), "{total:?}");
    }

    #[test]
    fn each_stage_reports_its_start_and_its_end_also_when_it_fails() {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let sink = Arc::clone(&seen);
        let events = Events::new(move |event| {
            sink.lock().unwrap().push(match event {
                Event::StageStarted { stage } => format!("start {stage}"),
                Event::StageFinished { stage, .. } => format!("end {stage}"),
                _ => "other".into(),
            });
        });
        let failed: anyhow::Result<()> =
            StageTimes::default().measure(&events, StageId::Pack, || anyhow::bail!("no"));
        assert!(failed.is_err());
        assert_eq!(*seen.lock().unwrap(), ["start pack", "end pack"]);
    }
}
