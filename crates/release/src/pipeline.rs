//! `cargo xtask dist`, read from top to bottom.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::artifact::{Packed, Stripped};
use crate::jobs::Jobs;
use crate::native::StaticLib;
use crate::plan::Plan;
use crate::ship::Shipped;
use crate::toolchain::{Site, Toolchain};
use crate::{cargo, image, mutants, native, pack, prove, ship, strip, toolchain};
use process::CpuTime;

/// How long each stage took, and how busy the cores were in it.
#[derive(Default)]
pub struct Times(pub Vec<StageTime>);

pub struct StageTime {
    pub stage: &'static str,
    pub wall: Duration,
    pub cpu_seconds: f64,
}

impl Times {
    /// Progress is one line a stage, on stderr, for terminals and CI logs alike.
    fn stage<T>(
        &mut self,
        plan: &Plan,
        stage: &'static str,
        work: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        if !plan.quiet {
            eprintln!("{stage:>10} ...");
        }
        let (started, cpu) = (Instant::now(), CpuTime::now());
        let result = work()?;
        let time = StageTime {
            stage,
            wall: started.elapsed(),
            cpu_seconds: CpuTime::now().since(cpu).as_secs_f64(),
        };
        if !plan.quiet {
            eprintln!("{stage:>10} {:.1} s", time.wall.as_secs_f64());
        }
        self.0.push(time);
        Ok(result)
    }
}

/// Everything up to the packed file: what tests of the shipped bytes need.
pub struct Built {
    pub toolchain: Toolchain,
    pub native: Vec<StaticLib>,
    pub packed: Packed,
    /// Packed from a damaged copy, for the mutants.
    pub damaged_pack: PathBuf,
}

pub fn dist(plan: &Plan, site: &Site, times: &mut Times) -> anyhow::Result<Shipped> {
    let _lock = lock(plan, site)?;
    let Built { toolchain, native, packed, damaged_pack } = build_packed(plan, site, times)?;
    let challenged = times.stage(plan, "mutants", || mutants::challenge(plan, packed, &damaged_pack))?;
    let proved = times.stage(plan, "prove", || prove::prove(plan, site, challenged))?;
    let image = times.stage(plan, "image", || image::build(plan, &proved))?;
    site.runner.check()?;
    times.stage(plan, "dist", || ship::ship(plan, site, &toolchain, &native, proved, &image))
}

/// The packed file, for callers that go on by themselves.
pub fn packed(plan: &Plan, site: &Site, times: &mut Times) -> anyhow::Result<Built> {
    let _lock = lock(plan, site)?;
    build_packed(plan, site, times)
}

fn build_packed(plan: &Plan, site: &Site, times: &mut Times) -> anyhow::Result<Built> {
    plan.check_tools()?;
    let jobs = Jobs::new(plan.jobs)?;
    let toolchain =
        times.stage(plan, "toolchain", || toolchain::provide(site, &plan.config, &plan.target, plan.std))?;
    let native = times.stage(plan, "compile", || compile(plan, site, &toolchain, &jobs))?;
    let linked = times.stage(plan, "link", || cargo::link(plan, site, &toolchain, &jobs, &native))?;
    native::require_linked(&native, &linked.file.path)?;
    let stripped = times.stage(plan, "strip", || strip::strip(plan, site, &toolchain, linked))?;
    let (packed, damaged_pack) =
        times.stage(plan, "pack", || pack_twice(plan, site, &toolchain, stripped))?;
    Ok(Built { toolchain, native, packed, damaged_pack })
}

/// The file that ships, and beside it one that must never pass.
fn pack_twice(
    plan: &Plan,
    site: &Site,
    toolchain: &Toolchain,
    stripped: Stripped,
) -> anyhow::Result<(Packed, PathBuf)> {
    let original = stripped.file.clone();
    std::thread::scope(|scope| {
        let damaged = scope.spawn(|| mutants::repack(plan, site, toolchain, &original));
        let packed = pack::pack(plan, site, toolchain, stripped);
        let damaged = damaged.join().expect("the packing thread does not panic");
        Ok((packed?, damaged?))
    })
}

/// The native libraries and the Rust ones side by side, out of one pool of job tokens. The first that fails ends the others.
fn compile(plan: &Plan, site: &Site, toolchain: &Toolchain, jobs: &Jobs) -> anyhow::Result<Vec<StaticLib>> {
    let site = &site.child_scope();
    std::thread::scope(|scope| {
        let libraries =
            scope.spawn(|| or_abandon(site, cargo::compile_libraries(plan, site, toolchain, jobs)));
        let linker =
            scope.spawn(|| or_abandon(site, toolchain::warm_linker(site, &toolchain.wrappers, jobs)));
        let native = or_abandon(site, native::build_all(plan, site, toolchain, jobs));
        let joined = "a compiling thread does not panic";
        let (libraries, linker) = (libraries.join().expect(joined), linker.join().expect(joined));
        let failures: Vec<_> = [libraries.err(), linker.err()].into_iter().flatten().collect();
        // Of several failures the native one comes first: it is the one whose remedy is less known. One that was only
        // ended by another is none.
        let (native, failures) = match native {
            Ok(native) => (Some(native), failures),
            Err(error) => (None, std::iter::once(error).chain(failures).collect()),
        };
        match failures.into_iter().min_by_key(|error| diag::has_code(error, &process::CANCELLED)) {
            Some(error) => Err(error),
            None => native.context("a native build without a result"),
        }
    })
}

fn or_abandon<T>(site: &Site, result: anyhow::Result<T>) -> anyhow::Result<T> {
    if result.is_err() {
        site.runner.cancel();
    }
    result
}

/// One run at a time works in the work folder and in `dist/`; a second one waits for its turn.
fn lock(plan: &Plan, site: &Site) -> anyhow::Result<std::fs::File> {
    std::fs::create_dir_all(&plan.paths.work)
        .map_err(|error| store::cannot_write(&plan.paths.work, error))?;
    store::lock_exclusive(&plan.paths.work.join(".lock"), &site.runner)
}
