//! `cargo xtask bench encode`: inferd beside onnxruntime, OpenVINO and torch in one run, on the same texts and cores.
//!
//! 1. `prepare.py` writes the models of the peers from the weights and verifies them; `peer.py` is one peer with one precision.
//! 2. All programs are started, choose their settings, and return the vectors of all texts.
//! 3. Rounds: each takes one sample of each program and workload, between two probes of the machine.
//! 4. Samples with a slow probe are void and repeated; then times, ratios and shares of the peak follow.

mod accuracy;
mod bench_case;
mod driver;
mod http;
mod inferd;
mod inputs;
mod line_child;
mod peak;
mod peers;
mod report;
mod samples;
mod svg;
mod table;
#[cfg(test)]
mod tests;
mod work;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use clap::Args as ClapArgs;
use diag::Diagnostics;
use release::context::BuildContext;
use release::plan::Plan;
use serde_json::json;

use crate::Outcome;
use crate::format::{self, Format};
use accuracy::Accuracy;
use bench_case::{BenchCase, Program, Route, Workload};
use driver::Driver;
use inferd::Inferd;
use peak::{Probe, Reading};
use peers::Peers;
use report::{EncodeReport, Measured, Peaks, Row, Work};
use samples::{Rounds, Sample, Samples};

diag::codes! {
    /// Every sample of a row is void.
    pub DISTURBED = NotMeasured "bench-encode-disturbed": "no sample between two undisturbed probes" {
        "cause": "other processes used the cores, or the virtual CPUs shared one core, in all samples",
        "fix": "run the command again on a machine without other load",
    }
}

/// Between a computation and a probe: the threads of a runtime spin for some milliseconds after their last work, and use a core.
const SETTLE: Duration = Duration::from_millis(100);
/// Bound of all samples of a row, as a multiple of those that count.
const SAMPLES_MOST: usize = 4;

#[derive(ClapArgs)]
pub struct Args {
    /// Undisturbed samples of each program and workload; the best one counts
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// Only this peer; can be repeated
    #[arg(long, value_name = "PEER", value_parser = ["onnxruntime", "openvino", "torch"])]
    only: Vec<String>,
    /// The program [default: the packed file in dist/]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// A Python with onnxruntime, OpenVINO, nncf, onnx and tokenizers [default: one in the cache, 700 MB]
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Measure torch too, in the environment of `bench embed` (6 GB, installed once)
    #[arg(long)]
    torch: bool,
    /// Peers compute batches of 32 texts in their order, with all cores on one batch, instead of their fastest setting
    #[arg(long)]
    untuned: bool,
    /// Write the times as a bar chart
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// The folder of the scripts.
fn scripts(plan: &Plan) -> PathBuf {
    plan.paths.root.join("xtask/src/bench/encode")
}

pub fn run(args: Args, format: Format, plan: &Plan, context: &BuildContext) -> anyhow::Result<Outcome> {
    let binary = match &args.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => super::dist_file(plan, &plan.names.packed)?,
    };
    let model = release::fixtures::folder(context, &plan.config, "model")?;
    let peers = Peers::install(plan, context, args.python.clone(), args.torch, args.untuned)?;
    let inputs = inputs::prepare(plan, context, &peers.python, peers::REQUIREMENTS, model)?;
    let cores = std::thread::available_parallelism()?.get();
    let probe = Probe::build(plan, context, cores)?;
    let Reading { isa, peaks: first } = probe.read_first()?;

    let inferd = || Inferd { context, binary: &binary, inputs: &inputs, threads: cores };
    let mut cases = inferd().cases(&isa)?;
    cases.extend(
        Peers::cases()
            .filter(|case| args.only.is_empty() || args.only.iter().any(|p| p == case.program.name())),
    );
    let logs = plan.paths.work.join("bench-encode/logs");
    std::fs::create_dir_all(&logs).with_context(|| format!("creating {}", logs.display()))?;
    let mut started = Vec::new();
    for case in cases {
        context.events().step(format!("starting {case}"));
        let log = logs.join(format!("{case}.log").replace(' ', "-"));
        let driver = start(case, inferd(), &peers, &log);
        context.runner.check()?;
        started.push((case, driver));
    }
    let (rows, peak) = measure(started, &args, context, first.f32, &probe)?;

    let widths = work::Widths::read(&inputs.model)?;
    let operations = inputs.lengths.iter().map(|tokens| widths.operations(*tokens)).sum();
    let report = EncodeReport {
        machine: super::machine(),
        isa,
        cores,
        peaks: Peaks { f32: peak, ..first },
        batch: Work { texts: inputs.texts.len(), tokens: inputs.tokens(), operations },
        single: Work {
            texts: 1,
            tokens: inputs.single_length,
            operations: widths.operations(inputs.single_length),
        },
        rows,
    };
    if let Some(path) = &args.svg {
        std::fs::write(path, svg::chart(&report)).with_context(|| format!("writing {}", path.display()))?;
    }
    let mut document = report.json();
    document["diagnostics"] = json!(report.problems());
    format::print(format, || table::human(&report), document)?;
    Ok(judge(&report))
}

/// The exit status: wrong vectors of inferd are a violation, a row of inferd without a time is no measurement.
fn judge(report: &EncodeReport) -> Outcome {
    format::problems(Diagnostics(report.problems()))
}

/// Starts a program and compares its vectors.
fn start<'a>(
    case: BenchCase,
    inferd: Inferd<'a>,
    peers: &Peers,
    log: &Path,
) -> anyhow::Result<(Driver<'a>, Accuracy)> {
    let (inputs, precision) = (inferd.inputs, case.precision);
    let driver = match (case.program, case.route) {
        (Program::Inferd, Route::InProcess) => inferd.start_in_process(precision)?,
        (Program::Inferd, Route::Http) => inferd.start_server(precision, log)?,
        (peer, _) => driver::start_peer(inferd.context, peers.script(peer)?, (peer, precision), inputs, log)?,
    };
    let accuracy = compare(case, &driver.vectors, &inputs.reference)?;
    Ok((driver, accuracy))
}

/// The distance of a program's vectors. A peer that computes something else, such as other texts, is not measured; inferd is judged
/// at the end.
fn compare(case: BenchCase, vectors: &[Vec<f32>], reference: &[Vec<f32>]) -> anyhow::Result<Accuracy> {
    let accuracy = Accuracy::of(vectors, reference)?;
    let is_peer = case.program != Program::Inferd;
    anyhow::ensure!(
        !is_peer || accuracy.is_within(accuracy::peer_bound(case.precision)),
        "other vectors: {accuracy}"
    );
    Ok(accuracy)
}

/// A program after its start, or why it did not start.
type Started<'a> = (BenchCase, anyhow::Result<(Driver<'a>, Accuracy)>);

/// Measures all programs; returns their rows and the best probe.
fn measure(
    mut started: Vec<Started<'_>>,
    args: &Args,
    context: &BuildContext,
    first_probe: f64,
    probe: &Probe<'_>,
) -> anyhow::Result<(Vec<Row>, f64)> {
    let wanted = usize::from(args.rounds);
    let rounds = Rounds { wanted, most: wanted * SAMPLES_MOST };
    let mut failures: Vec<Option<String>> = vec![None; started.len()];
    let settled_probe = || {
        std::thread::sleep(SETTLE);
        probe.read().map(|reading| reading.peaks.f32)
    };
    let of_workloads = Workload::ALL.len();
    let collected = samples::collect(started.len() * of_workloads, rounds, first_probe, |cell| {
        context.runner.check()?;
        let (row, workload) = (cell / of_workloads, Workload::ALL[cell % of_workloads]);
        let (case, Ok((driver, _))) = &mut started[row] else { return Ok(None) };
        context.events().step(format!("{case}: {}", workload.name()));
        let probe_before = settled_probe()?;
        match (driver.measure)(workload) {
            Ok(times) => Ok(Some(Sample { times, probe_before, probe_after: settled_probe()? })),
            Err(error) => {
                context.runner.check()?;
                failures[row] = Some(format!("{error:#}"));
                Ok(None)
            }
        }
    })?;
    let peak = samples::best_probe(first_probe, &collected);
    let mut cells = collected.into_iter();
    let rows = started.into_iter().zip(failures).map(|((case, started), failure)| {
        let (batch, single): (Samples, Samples) =
            (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        let result = match (started, failure) {
            (Err(error), _) => Err(format!("{error:#}")),
            (_, Some(failure)) => Err(failure),
            (Ok((driver, accuracy)), None) => {
                Ok(Measured { version: driver.version, setting: driver.setting, accuracy, batch, single })
            }
        };
        Row { case, result }
    });
    Ok((rows.collect(), peak))
}
