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
mod tally;
mod test_program;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Instant;

use diag::{Diagnostic, Diagnostics};
use release::context::BuildContext;
use release::stages::toolchain;
use serde_json::json;

use self::headers::Headers;
use self::random::Random;
use self::tally::Tally;
use self::test_program::{Rules, TestProgram};
use crate::Outcome;
use crate::format;
use crate::setup::{Common, Setup};

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
    /// Examine this static program alone, under the preset for static programs
    #[arg(value_name = "PROGRAM")]
    program: Option<PathBuf>,
    /// Arguments of the program; its run must end by itself, each time with the same output
    #[arg(last = true, value_name = "ARGS", requires = "program")]
    program_args: Vec<OsString>,
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
    pub common: Common,
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
    match &args.program {
        Some(path) => {
            let (context, _) = args.common.context()?;
            let name = path.display().to_string();
            let program = foreign::test_program(&name, path.clone(), &args.program_args, "")?;
            examine(args, &context, &Programs { others: vec![program], ..Programs::default() })
        }
        None => {
            let setup = args.common.setup(args.dist_dir.clone())?;
            examine(args, &setup.context, &programs(args, &setup)?)
        }
    }
}

/// What is examined.
#[derive(Default)]
struct Programs {
    /// Linked, stripped, packed; those of them that are wanted.
    shipped: Vec<TestProgram>,
    others: Vec<TestProgram>,
    /// UPX, the stripped and the packed file.
    repacked: Option<(PathBuf, TestProgram, TestProgram)>,
}

fn programs(args: &Args, setup: &Setup) -> anyhow::Result<Programs> {
    let (plan, context) = (&setup.plan, &setup.context);
    let is_wanted =
        |name: &str| args.only.is_empty() || args.only.iter().any(|part| name.contains(part.as_str()));
    let mut programs = Programs::default();
    if shipped::NAMES.iter().any(|name| is_wanted(name)) {
        programs.shipped = shipped::programs(plan)?.into();
        programs.shipped.retain(|program| is_wanted(&program.name));
    }
    if is_wanted(REPACKED) {
        let upx = toolchain::install(plan, context)?.upx().path.clone();
        let [_, stripped, packed] = shipped::programs(plan)?;
        programs.repacked = Some((upx, stripped, packed));
    }
    programs.others = foreign::programs(plan, context, args.quick, &is_wanted)?;
    if !args.quick && args.only.is_empty() {
        foreign::require_enough(programs.others.len())?;
    }
    Ok(programs)
}

fn examine(args: &Args, context: &BuildContext, programs: &Programs) -> anyhow::Result<Outcome> {
    let mut run =
        Run { args, context, tallies: Vec::new(), problems: Diagnostics::default(), refused: Vec::new() };
    for program in programs.shipped.iter().chain(&programs.others) {
        run.examine(program)?;
    }
    if let Some((upx, stripped, packed)) = &programs.repacked {
        run.examine_repacked(upx, stripped, packed)?;
    }
    run.report()
}

/// The programs so far.
struct Run<'a> {
    args: &'a Args,
    context: &'a BuildContext,
    tallies: Vec<Tally>,
    problems: Diagnostics,
    /// Originals that the gate refuses, and why.
    refused: Vec<(String, String)>,
}

impl Run<'_> {
    /// Edits of the headers of the file itself.
    fn examine(&mut self, program: &TestProgram) -> anyhow::Result<()> {
        if let Some(problem) = program.gate.problem(&program.bytes) {
            self.print_part(&format!("{}: the gate refuses the original: {problem}\n", program.name))?;
            self.refused.push((program.name.clone(), problem));
            return Ok(());
        }
        let started = Instant::now();
        let limit = self.args.edits.or(self.args.quick.then_some(QUICK_EDITS));
        let edits = self.edits(program, limit)?;
        match oracle::observe(self.context, program, &edits, self.rules()) {
            // The other programs show something nevertheless.
            Err(error) if diag::has_code(&error, &codes::ORIGINAL_FAILS) => self.problems.push_error(&error),
            observations => self.add(Tally::of(program, &observations?), started)?,
        }
        Ok(())
    }

    /// Edits of the headers inside of the packed file.
    fn examine_repacked(
        &mut self,
        upx: &Path,
        stripped: &TestProgram,
        packed: &TestProgram,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        let limit = if self.args.quick { QUICK_REPACKED_EDITS } else { REPACKED_EDITS };
        let edits = self.edits(stripped, Some(self.args.edits.unwrap_or(limit).min(limit)))?;
        let (observations, not_packed) =
            repacked::observe(self.context, upx, stripped, packed, &edits, self.rules())?;
        let tally = Tally::of(packed, &observations);
        self.add(Tally { name: REPACKED.into(), edits: edits.len(), not_packed, ..tally }, started)
    }

    fn rules(&self) -> Rules {
        if self.args.without_rules { Rules::Ignored } else { Rules::Applied }
    }

    fn edits(&self, program: &TestProgram, limit: Option<usize>) -> anyhow::Result<Vec<edits::Edit>> {
        let headers = Headers::find(&program.bytes).map_err(|problem| problem.file(&program.path))?;
        let edits = edits::all(&program.bytes, &headers, RANDOM_EDITS, self.args.seed);
        Ok(match limit {
            Some(limit) => Random::new(self.args.seed).sample(edits, limit),
            None => edits,
        })
    }

    fn add(&mut self, tally: Tally, started: Instant) -> anyhow::Result<()> {
        let seconds = started.elapsed().as_secs_f64();
        let head = format!("{}: {} edits in {seconds:.0} s\n", tally.name, tally.edits);
        self.print_part(&(head + &tally::missed(&tally)))?;
        self.tallies.push(tally);
        Ok(())
    }

    fn print_part(&self, text: &str) -> anyhow::Result<()> {
        format::print_part(self.args.common.format, text)
    }

    fn report(mut self) -> anyhow::Result<Outcome> {
        if self.tallies.is_empty() && self.problems.0.is_empty() && self.refused.is_empty() {
            return Err(Diagnostic::new(&codes::NO_PROGRAM, "no program has such a name")
                .expected("a part of a name in docs/kernel.md")
                .found(self.args.only.join(", "))
                .hint("cargo xtask difftest kernel --quick --only busybox")
                .into());
        }
        let total = tally::total(&self.tallies);
        let holds = tally::holds(&total) && self.refused.is_empty();
        let refused =
            self.refused.iter().map(|(program, problem)| json!({ "program": program, "problem": problem }));
        let document = json!({
            "holds": holds,
            "programs": self.tallies.iter().map(Tally::json).collect::<Vec<_>>(),
            "all": total.json(),
            "refused_originals": refused.collect::<Vec<_>>(),
            "diagnostics": self.problems,
        });
        let details = tally::details(&total);
        self.tallies.push(total);
        format::print(self.args.common.format, || details + &tally::table(&self.tallies), document)?;
        Ok(match (self.problems.0.is_empty(), holds) {
            (false, _) => format::problems(self.problems),
            (true, true) => Outcome::Pass,
            (true, false) => Outcome::Violated,
        })
    }
}
