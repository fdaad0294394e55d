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
mod repacked;
mod shipped;
mod subject;
mod tally;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use diag::Diagnostics;
use elf_gate::Severity;
use elf_gate::policy::RULES;
use release::context::BuildContext;
use release::stages::toolchain;

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
/// Edits of the headers inside of the packed file: each takes a second.
const REPACKED_EDITS: usize = 600;
const QUICK_REPACKED_EDITS: usize = 12;
/// The packed file as a program of the tables, with its inner headers edited.
const REPACKED: &str = "packed, inner headers";

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
    /// Accept what violates a rule, to see that the comparison fails
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
    let mut shipped = shipped::subjects(plan)?;
    let mut foreign = foreign::subjects(plan, context, args.quick, &is_wanted)?;
    if !args.quick && args.only.is_empty() {
        foreign::require_enough(foreign.len())?;
    }
    for subject in shipped.iter_mut().chain(&mut foreign).filter(|_| args.without_rules) {
        subject.gate.policy.severity =
            RULES.iter().map(|rule| (rule.id().to_string(), Severity::Note)).collect();
    }
    let mut run = Run { args, context, tallies: Vec::new(), problems: Diagnostics::default(), refused: 0 };
    for subject in shipped.iter().filter(|subject| is_wanted(&subject.name)).chain(&foreign) {
        run.examine(subject)?;
    }
    if let [_, stripped, packed] = &shipped[..]
        && is_wanted(REPACKED)
    {
        let upx = toolchain::install(plan, context)?.upx().path.clone();
        run.examine_repacked(&upx, stripped, packed)?;
    }
    run.report()
}

/// The programs so far.
struct Run<'a> {
    args: &'a Args,
    context: &'a BuildContext,
    tallies: Vec<Tally>,
    problems: Diagnostics,
    /// Originals that the gate refuses.
    refused: usize,
}

impl Run<'_> {
    /// Edits of the headers of the file itself.
    fn examine(&mut self, subject: &Subject) -> anyhow::Result<()> {
        if let Some(problem) = subject.gate.problem(&subject.bytes) {
            self.refused += 1;
            println!("{}: the gate refuses the original: {problem}", subject.name);
            return Ok(());
        }
        let started = Instant::now();
        let limit = self.args.edits.or(self.args.quick.then_some(QUICK_EDITS));
        let edits = self.edits(subject, limit)?;
        match oracle::observe(self.context, subject, &edits) {
            // The other programs show something nevertheless.
            Err(error) if diag::has_code(&error, &codes::ORIGINAL_FAILS) => self.problems.push_error(&error),
            observations => self.add(Tally::of(subject, &observations?), started),
        }
        Ok(())
    }

    /// Edits of the headers inside of the packed file.
    fn examine_repacked(&mut self, upx: &Path, stripped: &Subject, packed: &Subject) -> anyhow::Result<()> {
        let started = Instant::now();
        let limit = if self.args.quick { QUICK_REPACKED_EDITS } else { REPACKED_EDITS };
        let edits = self.edits(stripped, Some(self.args.edits.unwrap_or(limit).min(limit)))?;
        let (observations, not_packed) = repacked::observe(self.context, upx, stripped, packed, &edits)?;
        let tally = Tally::of(packed, &observations);
        self.add(Tally { name: REPACKED.into(), edits: edits.len(), not_packed, ..tally }, started);
        Ok(())
    }

    fn edits(&self, subject: &Subject, limit: Option<usize>) -> anyhow::Result<Vec<edits::Edit>> {
        let headers = Headers::find(&subject.bytes).map_err(|problem| problem.file(&subject.path))?;
        let edits = edits::all(&subject.bytes, &headers, RANDOM_EDITS, self.args.seed);
        Ok(match limit {
            Some(limit) => Random::new(self.args.seed).sample(edits, limit),
            None => edits,
        })
    }

    fn add(&mut self, tally: Tally, started: Instant) {
        println!("{}: {} edits in {:.0} s", tally.name, tally.edits, started.elapsed().as_secs_f64());
        print!("{}", tally::missed(&tally));
        self.tallies.push(tally);
    }

    fn report(mut self) -> anyhow::Result<Outcome> {
        let total = tally::total(&self.tallies);
        let holds = tally::holds(&total);
        print!("{}", tally::details(&total));
        self.tallies.push(total);
        print!("{}", tally::table(&self.tallies));
        self.problems.into_result()?;
        Ok(if holds && self.refused == 0 { Outcome::Pass } else { Outcome::Violated })
    }
}
