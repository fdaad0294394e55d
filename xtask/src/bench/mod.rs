//! `cargo xtask bench`: measures beside a reference in one run, and prints ratios. It judges equal vectors and the allocator.

pub mod alloc;
pub mod encode;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args as ClapArgs, Subcommand};
use diag::{Diagnostic, Diagnostics};
use elf_gate::{Evidence, Policy, Stage, inspect, judge};
use process::Task;
use release::context::BuildContext;
use release::fetch::pip;
use release::plan::Plan;
use serde_json::{Value, json};
use units::ByteSize;

use crate::Outcome;
use crate::format::{self, Format};
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
    pub common: Common,
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
    let format = args.common.format;
    let setup = args.common.setup(None)?;
    let (plan, context) = (&setup.plan, &setup.context);
    match args.what {
        What::Alloc(args) => alloc::run(args, format, plan, context),
        What::Encode(args) => encode::run(args, format, plan, context),
        What::Embed { python } => {
            let command = ["embed", "--model"];
            run_script(format, context, beside_reference(plan, context, python, "embed.py", &command)?)
        }
        What::Serve { python } => {
            run_script(format, context, beside_reference(plan, context, python, "serve.py", &["serve"])?)
        }
        What::Memory => run_script(format, context, memory(plan, context)?),
        What::Start => start(format, plan, context),
        What::Gate => gate(format, plan),
    }
}

/// A file of the last `dist`.
fn dist_file(plan: &Plan, name: &str) -> anyhow::Result<PathBuf> {
    let path = plan.paths.dist.join(name);
    if path.is_file() {
        return Ok(path);
    }
    Err(Diagnostic::new(&NO_DIST, "a file of dist/ is missing").file(path).hint("cargo xtask dist").into())
}

/// A script that runs the packed binary and the reference. A command that ends in `--model` gets the model folder.
fn beside_reference(
    plan: &Plan,
    context: &BuildContext,
    python: Option<PathBuf>,
    script: &str,
    command: &[&str],
) -> anyhow::Result<Command> {
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
    Ok(bench)
}

/// Of the unpacked file: the packed one unpacks itself into anonymous memory.
fn memory(plan: &Plan, context: &BuildContext) -> anyhow::Result<Command> {
    let fixtures = plan.paths.root.join("fixtures/models");
    let entries = std::fs::read_dir(&fixtures).with_context(|| format!("reading {}", fixtures.display()))?;
    let mut models = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    models.retain(|path| path.join("model.safetensors").is_file());
    models.sort();
    models.push(release::fixtures::folder(context, &plan.config, "model")?);
    let mut bench = script_command(plan, context, Path::new("python3"), "memory.py");
    bench.arg(dist_file(plan, &plan.names.unpacked)?).args(models);
    Ok(bench)
}

/// The scripts remove settings of BLAS libraries from the environment themselves, so that they can run by hand.
fn script_command(plan: &Plan, context: &BuildContext, python: &Path, script: &str) -> Command {
    let mut command = context.command(python);
    // Python writes no cache into the checkout.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.arg(plan.paths.root.join("xtask/src/bench").join(script));
    command
}

/// The scripts print one JSON object on stdout and text for a reader on stderr.
fn run_script(format: Format, context: &BuildContext, command: Command) -> anyhow::Result<Outcome> {
    let quoted = process::quote(&command);
    let task = Task::new("run the bench", command).inherit_stderr(true);
    let task = match format {
        Format::Human => task.report_stdout(),
        Format::Json => task,
    };
    let output = context.runner.output(task)?;
    let problem = |code: &'static diag::Code| {
        Diagnostic::new(code, code.summary)
            .found(format!("exit code {}", output.shell_code()))
            .hint(format!("to run it by hand:\n{quoted}"))
    };
    let problems: Diagnostics = match output.shell_code() {
        0 => Diagnostics::default(),
        DIFFERENT => [problem(&VECTORS_DIFFER)].into_iter().collect(),
        _ => return Err(problem(&NOT_MEASURED).into()),
    };
    if format == Format::Json {
        let document = document(&output.stdout, &problems);
        format::print(format, String::new, document.ok_or_else(|| problem(&NOT_MEASURED))?)?;
    }
    Ok(format::problems(problems))
}

/// The object of a script with the problems; `None` when the script printed something else.
fn document(stdout: &[u8], problems: &Diagnostics) -> Option<Value> {
    let mut document: Value = serde_json::from_slice(stdout).ok()?;
    document.as_object_mut()?.insert("diagnostics".into(), json!(problems));
    Some(document)
}

/// Runs of each measurement; the median counts.
const ROUNDS: usize = 20;

fn start(format: Format, plan: &Plan, context: &BuildContext) -> anyhow::Result<Outcome> {
    let machine = machine();
    format::print_part(format, &format!("{machine}\n"))?;
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
    let ratio = packed / unpacked;
    let text = || {
        let cpu = cpu();
        format!(
            "inferd --version, median of {ROUNDS}\n  \
             packed    {:>6.1} ms  [{cpu}]\n  \
             unpacked  {:>6.1} ms  [{cpu}]\n  \
             ratio     {ratio:>6.2}     [{cpu}]\n",
            packed * 1e3,
            unpacked * 1e3
        )
    };
    let document = json!({
        "machine": machine, "rounds": ROUNDS, "packed_seconds": packed, "unpacked_seconds": unpacked, "ratio": ratio,
        "diagnostics": [],
    });
    format::print(format, text, document)?;
    Ok(Outcome::Pass)
}

fn gate(format: Format, plan: &Plan) -> anyhow::Result<Outcome> {
    let profile = if cfg!(debug_assertions) { "dev" } else { "release" };
    let machine = machine();
    let head = format!(
        "{machine}\nmap, inspect and judge with the policy of the release; median of {ROUNDS}; {profile} profile of xtask\n"
    );
    format::print_part(format, &head)?;
    let linked = plan.paths.work.join("linked").join(&plan.config.product.name);
    let packed = dist_file(plan, &plan.names.packed)?;
    let policy = |stage| release::gate::policy(&plan.config, &plan.target, stage);
    let without_disassembly = Policy { isa_baseline: Vec::new(), ..policy(Stage::Linked) };
    let mut files = Vec::new();
    for (name, path, stage, policy) in [
        ("linked", &linked, Stage::Linked, policy(Stage::Linked)),
        ("linked, without `isa_baseline`", &linked, Stage::Linked, without_disassembly),
        ("packed", &packed, Stage::Packed, policy(Stage::Packed)),
    ] {
        let times =
            (0..ROUNDS).map(|_| gate_time(path, stage, &policy)).collect::<anyhow::Result<Vec<_>>>()?;
        let (size_bytes, seconds) = (path.metadata()?.len(), median(times));
        let size = ByteSize(size_bytes).rounded();
        format::print_part(
            format,
            &format!("  {name:<31} {size:>10}  {:>6.1} ms  [{}]\n", seconds * 1e3, cpu()),
        )?;
        files.push(json!({ "name": name, "size_bytes": size_bytes, "seconds": seconds }));
    }
    let document = json!({
        "machine": machine, "rounds": ROUNDS, "profile": profile, "files": files, "diagnostics": [],
    });
    format::print(format, String::new, document)?;
    Ok(Outcome::Pass)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_a_script_gets_the_problems_and_anything_else_is_no_document() {
        let problems: Diagnostics = [Diagnostic::new(&VECTORS_DIFFER, "differ")].into_iter().collect();
        let value = document(b"{\"ratio\": 2.5}\n", &problems).unwrap();
        assert_eq!(
            (&value["ratio"], &value["diagnostics"][0]["code"]),
            (&2.5.into(), &"bench-vectors-differ".into())
        );
        for text in ["", "a table\n", "[]", "{}{}"] {
            assert_eq!(document(text.as_bytes(), &problems), None, "{text}");
        }
    }
}
