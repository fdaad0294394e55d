//! `cargo xtask bench`: measures side by side in one run, and prints ratios. Asserts nothing: numbers are for people.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use diag::Diagnostic;
use elf_gate::{Evidence, Policy, Stage, inspect, judge};
use process::Task;
use release::plan::Plan;
use release::toolchain::Site;
use units::ByteSize;

use crate::Outcome;
use crate::setup::Common;

/// The reference that embeddings are compared with; the same versions made the golden numbers.
const REFERENCE: [&str; 2] = ["torch==2.15.0", "sentence-transformers==6.2.0"];

#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Throughput of `inferd embed` in dist/ beside sentence-transformers, on the same cores
    Embed {
        /// A Python that has sentence-transformers; without it one is set up in the cache (about 6 GB)
        #[arg(long, value_name = "PYTHON")]
        python: Option<PathBuf>,
    },
    /// Throughput and latency of the running server beside sentence-transformers, batch 1 and batch 32
    Serve {
        /// A Python that has sentence-transformers; without it one is set up in the cache (about 6 GB)
        #[arg(long, value_name = "PYTHON")]
        python: Option<PathBuf>,
    },
    /// The estimate of memory beside what a start takes, part by part, for every fixture model and the real one
    Memory,
    /// Time to start: packed beside unpacked
    Start,
    /// Time to judge the linked binary and the packed one
    Gate,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let (plan, site) = (&setup.plan, &setup.site);
    match args.what {
        What::Embed { python } => {
            beside(plan, site, python, "crates/engine/benches/embed.py", &["embed", "--model"])?
        }
        What::Serve { python } => beside(plan, site, python, "crates/server/benches/serve.py", &["serve"])?,
        What::Memory => memory(plan, site)?,
        What::Start => start(plan, site)?,
        What::Gate => gate(plan)?,
    }
    Ok(Outcome::Pass)
}

/// A file of the last `dist`.
fn shipped(plan: &Plan, name: &str) -> anyhow::Result<PathBuf> {
    let path = plan.paths.dist.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Diagnostic::new(&release::GENERAL, format!("{} is not there", path.display()))
        .hint("cargo xtask dist")
        .into())
}

/// The shipped binary and the reference in one run. A command that ends in `--model` gets the folder behind it.
fn beside(
    plan: &Plan,
    site: &Site,
    python: Option<PathBuf>,
    script: &str,
    command: &[&str],
) -> anyhow::Result<()> {
    let binary = shipped(plan, &plan.names.packed)?;
    let model = release::model::folder(site, &plan.config)?;
    let python = match python {
        Some(python) => python,
        None => reference_python(plan, site)?,
    };
    let mut bench = site.command(python);
    bench.arg(plan.paths.root.join(script)).arg(&model).arg("--").arg(binary).args(command);
    if command.ends_with(&["--model"]) {
        bench.arg(&model);
    }
    let finished = site.runner.run(Task::new("measure embeddings", bench).inherit_stderr(true))?;
    println!("{}", finished.stdout_text());
    Ok(())
}

/// Of the unpacked file: of the packed one, the unpacking itself is anonymous memory as well.
fn memory(plan: &Plan, site: &Site) -> anyhow::Result<()> {
    let fixtures = plan.paths.root.join("fixtures/models");
    let entries = std::fs::read_dir(&fixtures).with_context(|| format!("reading {}", fixtures.display()))?;
    let mut models = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    models.retain(|path| path.join("model.safetensors").is_file());
    models.sort();
    models.push(release::model::folder(site, &plan.config)?);
    let mut bench = site.command("python3");
    bench.arg(plan.paths.root.join("crates/server/benches/memory.py"));
    bench.arg(shipped(plan, &plan.names.unpacked)?).args(models);
    let finished = site.runner.run(Task::new("measure memory", bench).inherit_stderr(true))?;
    println!("{}", finished.stdout_text());
    Ok(())
}

/// A Python with the reference in it, set up once.
fn reference_python(plan: &Plan, site: &Site) -> anyhow::Result<PathBuf> {
    let folder = plan.paths.cache.join("reference");
    let python = folder.join("bin/python");
    let ready = folder.join("complete");
    if ready.exists() {
        return Ok(python);
    }
    eprintln!(
        "setting up {} in {}; this takes about 6 GB and some minutes",
        REFERENCE.join(" and "),
        folder.display()
    );
    let mut venv = site.command("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&folder);
    site.runner.run(Task::new("make a Python environment", venv))?;
    let mut install = site.command(&python);
    install.args(["-m", "pip", "install", "--quiet"]).args(REFERENCE);
    site.runner.run(Task::new("install sentence-transformers", install).inherit_stderr(true))?;
    std::fs::write(&ready, REFERENCE.join("\n")).context("marking the environment as complete")?;
    Ok(python)
}

fn start(plan: &Plan, site: &Site) -> anyhow::Result<()> {
    const ROUNDS: usize = 20;
    let packed = shipped(plan, &plan.names.packed)?;
    let unpacked = shipped(plan, &plan.names.unpacked)?;
    let (mut of_packed, mut of_unpacked) = (Vec::new(), Vec::new());
    // Rounds alternate, so that other load on the machine meets both.
    for _ in 0..ROUNDS {
        for (path, times) in [(&packed, &mut of_packed), (&unpacked, &mut of_unpacked)] {
            let mut command = Command::new(path);
            command.env_clear().arg("--version");
            let started = Instant::now();
            site.runner.run(Task::new("start the binary", command))?;
            times.push(started.elapsed());
        }
    }
    let (packed, unpacked) = (median(of_packed), median(of_unpacked));
    println!("inferd --version, median of {ROUNDS}");
    println!("  packed    {:>6.1} ms", packed * 1e3);
    println!("  unpacked  {:>6.1} ms", unpacked * 1e3);
    println!("  ratio     {:>6.2}", packed / unpacked);
    Ok(())
}

fn gate(plan: &Plan) -> anyhow::Result<()> {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!("reading, inspecting and judging; median of 20; {profile} profile of xtask");
    let linked = plan.paths.work.join("linked").join(&plan.config.product.name);
    let packed = shipped(plan, &plan.names.packed)?;
    for (name, path, stage) in [("linked", &linked, Stage::Linked), ("packed", &packed, Stage::Packed)] {
        let times = (0..20).map(|_| judged(path, stage, plan)).collect::<anyhow::Result<Vec<_>>>()?;
        println!(
            "  {name:<8} {:>10}  {:>6.1} ms",
            ByteSize(path.metadata()?.len()).rounded(),
            median(times) * 1e3
        );
    }
    Ok(())
}

fn judged(path: &Path, stage: Stage, plan: &Plan) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let facts = inspect(&bytes)?;
    let policy: Policy = release::gate::policy(&plan.config, &plan.target, stage);
    std::hint::black_box(judge(&facts, stage, &policy, &Evidence::default()));
    Ok(started.elapsed())
}

/// In seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
