//! `cargo xtask bench`: measures beside a reference in one run, and prints ratios. It judges equal vectors and the allocator.

pub mod alloc;
pub mod encode;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use diag::Diagnostic;
use elf_gate::{Evidence, Policy, Stage, inspect, judge};
use process::Task;
use release::context::BuildContext;
use release::fetch::pip;
use release::plan::Plan;
use units::ByteSize;

use crate::Outcome;
use crate::setup::Common;

/// The reference; the same versions produced the golden embeddings. About 6 GB with their dependencies.
const REFERENCE: &str = "torch==2.15.0\nsentence-transformers==6.2.0\n";
/// Exit code of a script when the vectors differ from the reference.
const DIFFERENT: i32 = 1;

diag::codes! {
    /// The vectors differ from the reference.
    pub VECTORS_DIFFER = Violation "bench-vectors-differ": "the vectors differ from those of the reference" {
        "catches": "a kernel or a model file that is not the one of the reference",
        "fix": "compare with the golden embeddings: `inferd selftest`",
    }
    /// A bench ended without a result.
    pub NOT_MEASURED = NotMeasured "bench-not-measured": "the bench ended without a result" {
        "cause": "the binary, the model or the reference does not run; the script printed the reason",
        "fix": "run the quoted command by hand",
    }
    /// A file of `dist` is missing.
    pub NO_DIST = Environment "bench-no-dist": "a file of dist/ is missing" {
        "cause": "`cargo xtask dist` has not run in this checkout",
        "fix": "cargo xtask dist",
    }
}
#[derive(ClapArgs)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The allocator that ships beside five others, on Larson's benchmark
    Alloc(alloc::Args),
    /// Throughput of `inferd embed` beside sentence-transformers
    Embed {
        /// A Python with sentence-transformers [default: one in the cache, about 6 GB]
        #[arg(long, value_name = "PYTHON")]
        python: Option<PathBuf>,
    },
    /// Time of 256 texts and of one text beside onnxruntime, OpenVINO and torch, for each precision, in-process and over HTTP
    Encode(encode::Args),
    /// Throughput and latency of `inferd serve` beside sentence-transformers, batch 1 and 32
    Serve {
        /// A Python with sentence-transformers [default: one in the cache, about 6 GB]
        #[arg(long, value_name = "PYTHON")]
        python: Option<PathBuf>,
    },
    /// Estimate of memory beside the measurement, part by part, for each fixture model and MiniLM
    Memory,
    /// Start-up time, packed beside unpacked
    Start,
    /// Time of the gate for the linked and the packed binary
    Gate,
}

pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(None)?;
    let (plan, context) = (&setup.plan, &setup.context);
    match args.what {
        What::Alloc(args) => return alloc::run(args, plan, context),
        What::Encode(args) => return encode::run(args, plan, context),
        What::Embed { python } => {
            beside_reference(plan, context, python, "embed.py", &["embed", "--model"])?;
        }
        What::Serve { python } => beside_reference(plan, context, python, "serve.py", &["serve"])?,
        What::Memory => memory(plan, context)?,
        What::Start => start(plan, context)?,
        What::Gate => gate(plan)?,
    }
    Ok(Outcome::Pass)
}

/// A file of the last `dist`.
fn dist_file(plan: &Plan, name: &str) -> anyhow::Result<PathBuf> {
    let path = plan.paths.dist.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Diagnostic::new(&NO_DIST, "a file of dist/ is missing").file(path).hint("cargo xtask dist").into())
}

/// Runs the packed binary and the reference in one script. A command that ends in `--model` gets the model folder.
fn beside_reference(
    plan: &Plan,
    context: &BuildContext,
    python: Option<PathBuf>,
    script: &str,
    command: &[&str],
) -> anyhow::Result<()> {
    let binary = dist_file(plan, &plan.names.packed)?;
    let model = release::fixtures::folder(context, &plan.config, "model")?;
    let python = match python {
        Some(python) => python,
        None => {
            pip::environment(context, "reference", REFERENCE, "`--python` names another Python that has it")?
        }
    };
    let mut bench = script_command(plan, context, &python, script);
    bench.arg(&model).arg("--").arg(binary).args(command);
    if command.ends_with(&["--model"]) {
        bench.arg(&model);
    }
    run_script(context, bench)
}

/// Of the unpacked file: the packed one unpacks itself into anonymous memory.
fn memory(plan: &Plan, context: &BuildContext) -> anyhow::Result<()> {
    let fixtures = plan.paths.root.join("fixtures/models");
    let entries = std::fs::read_dir(&fixtures).with_context(|| format!("reading {}", fixtures.display()))?;
    let mut models = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    models.retain(|path| path.join("model.safetensors").is_file());
    models.sort();
    models.push(release::fixtures::folder(context, &plan.config, "model")?);
    let mut bench = script_command(plan, context, Path::new("python3"), "memory.py");
    bench.arg(dist_file(plan, &plan.names.unpacked)?).args(models);
    run_script(context, bench)
}

/// The scripts remove settings of BLAS libraries from the environment themselves, so that they can run by hand.
fn script_command(plan: &Plan, context: &BuildContext, python: &Path, script: &str) -> Command {
    let mut command = context.command(python);
    // Python writes no cache into the checkout.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(plan.paths.root.join("xtask/src/bench").join(script));
    command
}

fn run_script(context: &BuildContext, command: Command) -> anyhow::Result<()> {
    let quoted = process::quote(&command);
    let output =
        context.runner.output(Task::new("run the bench", command).inherit_stderr(true).report_stdout())?;
    let code = match output.shell_code() {
        0 => return Ok(()),
        DIFFERENT => &VECTORS_DIFFER,
        _ => &NOT_MEASURED,
    };
    Err(Diagnostic::new(code, code.summary)
        .found(format!("exit code {}", output.shell_code()))
        .hint(format!("to run it by hand:\n{quoted}"))
        .into())
}

/// Runs of each measurement; the median counts.
const ROUNDS: usize = 20;

fn start(plan: &Plan, context: &BuildContext) -> anyhow::Result<()> {
    println!("{}", machine());
    let packed = dist_file(plan, &plan.names.packed)?;
    let unpacked = dist_file(plan, &plan.names.unpacked)?;
    let (mut of_packed, mut of_unpacked) = (Vec::new(), Vec::new());
    // Rounds alternate, so that other load on the machine affects both.
    for _ in 0..ROUNDS {
        for (path, times) in [(&packed, &mut of_packed), (&unpacked, &mut of_unpacked)] {
            let mut command = Command::new(path);
            command.env_clear().arg("--version");
            let started = Instant::now();
            context.runner.run(Task::new("start the binary", command))?;
            times.push(started.elapsed());
        }
    }
    let (packed, unpacked) = (median(of_packed), median(of_unpacked));
    println!("inferd --version, median of {ROUNDS}");
    let cpu = cpu();
    println!("  packed    {:>6.1} ms  [{cpu}]", packed * 1e3);
    println!("  unpacked  {:>6.1} ms  [{cpu}]", unpacked * 1e3);
    println!("  ratio     {:>6.2}     [{cpu}]", packed / unpacked);
    Ok(())
}

fn gate(plan: &Plan) -> anyhow::Result<()> {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    println!("{}", machine());
    println!(
        "map, inspect and judge with the policy of the release; median of {ROUNDS}; {profile} profile of xtask"
    );
    let linked = plan.paths.work.join("linked").join(&plan.config.product.name);
    let packed = dist_file(plan, &plan.names.packed)?;
    let policy = |stage| release::gate::policy(&plan.config, &plan.target, stage);
    let without_disassembly = Policy { isa_baseline: Vec::new(), ..policy(Stage::Linked) };
    for (name, path, stage, policy) in [
        ("linked", &linked, Stage::Linked, policy(Stage::Linked)),
        ("linked, without `isa_baseline`", &linked, Stage::Linked, without_disassembly),
        ("packed", &packed, Stage::Packed, policy(Stage::Packed)),
    ] {
        let times =
            (0..ROUNDS).map(|_| gate_time(path, stage, &policy)).collect::<anyhow::Result<Vec<_>>>()?;
        println!(
            "  {name:<31} {:>10}  {:>6.1} ms  [{}]",
            ByteSize(path.metadata()?.len()).rounded(),
            median(times) * 1e3,
            cpu()
        );
    }
    Ok(())
}

fn gate_time(path: &Path, stage: Stage, policy: &Policy) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let bytes = elf_gate::cli::read_file(path)?;
    let facts = inspect(&bytes)?;
    let evidence = Evidence { own_bytes: Some(&bytes), ..Evidence::default() };
    std::hint::black_box(judge(&facts, stage, policy, &evidence));
    Ok(started.elapsed())
}

/// CPU, architecture and kernel, so that a quoted number has its context.
fn machine() -> String {
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {cores} cores; {}; Linux {}", cpu(), std::env::consts::ARCH, kernel.trim())
}

/// CPU and its widest instruction set, for the end of each line with a figure. These benches run no BLAS.
fn cpu() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let value = |name| text.lines().find_map(|line: &str| Some(line.strip_prefix(name)?.split_once(": ")?.1));
    let flags: Vec<&str> =
        value("flags").or(value("Features")).unwrap_or_default().split_ascii_whitespace().collect();
    let widest =
        ["amx_bf16", "avx512f", "avx2", "sve", "asimd"].into_iter().find(|flag| flags.contains(flag));
    format!("{}, {}", value("model name").unwrap_or("unknown CPU"), widest.unwrap_or("baseline"))
}

/// In seconds.
fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64()
}
