//! `cargo xtask difftest kernel`: the kernel and the libc as oracle of the gate.
//!
//! Copies of programs with edited headers are executed in a sandbox and judged. A copy that does not start as the original
//! does, and that the gate accepts, is a defect of the gate, unless `known_differences` says why no static reading can find
//! it. A copy that starts and is refused is no defect: the gate refuses what works by luck.

pub mod codes;
mod edits;
mod foreign;
mod headers;
mod known_differences;
mod oracle;
mod random;
mod shipped;
mod subject;
mod tally;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Instant;

use diag::Diagnostics;
use elf_gate::Policy;

use self::headers::Headers;
use self::random::Random;
use self::subject::Subject;
use self::tally::Tally;
use crate::Outcome;
use crate::setup::Common;

/// The hidden verb that is the process of a sandbox.
pub const SANDBOX_VERB: &str = "sandbox";
const SEED: u64 = 11;
const RANDOM_EDITS: usize = 2000;
/// Edits of each program with `--quick`.
const QUICK_EDITS: usize = 400;

#[derive(clap::Args)]
pub struct Args {
    /// A sample of the edits, in less than two minutes
    #[arg(long)]
    quick: bool,
    /// Seed of the random edits and of samples
    #[arg(long, default_value_t = SEED, value_name = "NUMBER")]
    seed: u64,
    /// At most this many edits of each program, chosen at random [default: all; 400 with --quick]
    #[arg(long, value_name = "NUMBER")]
    edits: Option<usize>,
    /// Only programs whose name contains one of these
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Judge without any rule: the verb must fail
    #[arg(long)]
    without_rules: bool,
    /// The folder of the release [default: dist/]
    #[arg(long, value_name = "DIR")]
    dist_dir: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// The process of a sandbox.
#[derive(clap::Args)]
pub struct SandboxArgs {
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

pub fn serve_sandbox(args: &SandboxArgs) -> anyhow::Result<Outcome> {
    process::sandbox::serve(&args.arguments)?;
    Ok(Outcome::Pass)
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let setup = args.common.setup(args.dist_dir.clone())?;
    let (plan, context) = (&setup.plan, &setup.context);
    let is_wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()));
    let mut subjects = shipped::subjects(plan)?;
    subjects.retain(|subject| is_wanted(&subject.name));
    let foreign = foreign::subjects(plan, context, args.quick, &is_wanted)?;
    if !args.quick && args.only.is_empty() {
        foreign::require_enough(foreign.len())?;
    }
    subjects.extend(foreign);
    let limit = args.edits.or(args.quick.then_some(QUICK_EDITS));
    let mut tallies: Vec<Tally> = Vec::new();
    let mut accepts_originals = true;
    let mut problems = Diagnostics::default();
    for subject in &mut subjects {
        if args.without_rules {
            subject.gate.policy = Policy::default();
        }
        if let Some(problem) = subject.gate.problem(&subject.bytes) {
            accepts_originals = false;
            println!("{}: the gate refuses the original: {problem}", subject.name);
            continue;
        }
        let started = Instant::now();
        let edits = edits_of(subject, args, limit)?;
        let observations = match oracle::observe(context, subject, &edits) {
            // The other programs show something nevertheless.
            Err(error) if diag::has_code(&error, &codes::ORIGINAL_FAILS) => {
                problems.push_error(&error);
                continue;
            }
            observations => observations?,
        };
        let tally = Tally::of(subject, &observations);
        println!("{}: {} edits in {:.0} s", subject.name, edits.len(), started.elapsed().as_secs_f64());
        print!("{}", tally::missed(&tally));
        tallies.push(tally);
    }
    let total = tally::total(&tallies);
    let holds = tally::holds(&total);
    print!("{}", tally::details(&total));
    tallies.push(total);
    print!("{}", tally::table(&tallies));
    problems.into_result()?;
    Ok(if holds && accepts_originals { Outcome::Pass } else { Outcome::Violated })
}

fn edits_of(subject: &Subject, args: &Args, limit: Option<usize>) -> anyhow::Result<Vec<edits::Edit>> {
    let headers = Headers::find(&subject.bytes).map_err(|problem| problem.file(&subject.path))?;
    let edits = edits::all(&subject.bytes, &headers, RANDOM_EDITS, args.seed);
    Ok(match limit {
        Some(limit) => Random::new(args.seed).sample(edits, limit),
        None => edits,
    })
}
