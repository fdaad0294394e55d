//! `cargo xtask verify-elf FILE...`: judges ELF files by the gate's rules, whoever built them, and wherever they lie:
//! in folders, static libraries, tar files and images.
//!
//! Here are the flags and the order of things; each part has its file. The one process that may be started is `upx -d`,
//! for a comparison that the gate's own decompressor cannot do.

mod beside;
mod diff;
pub mod in_parallel;
pub mod inputs;
mod judge;
mod output;
mod policies;
pub mod read;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::Subcommand;
use elf_gate::containers::Limits;
use elf_gate::policy::{self, RULES};
use elf_gate::report::Report;
use elf_gate::{Stage, Verdict};

use crate::Outcome;
use inputs::Inputs;
use output::{Color, Format, ReportFile};
use policies::Policies;

/// Judge ELF files: stack size, static linking, symbols, stripping, and what UPX wrapped.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    compare: Option<Compare>,
    /// Files, folders, quoted patterns, `@LIST` (one name a line), `-` for stdin; ELF files are looked for in .a, tar,
    /// gzip and xz files and in images.
    #[arg(required_unless_present = "explain", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whose rules apply; without it the bytes decide, and the report says why.
    #[arg(long, value_name = "linked|stripped|packed")]
    stage: Option<Stage>,
    #[command(flatten)]
    policies: policies::PolicyArgs,
    /// The split debug file that must belong to FILE; without it, one that lies beside FILE is used.
    #[arg(long, value_name = "FILE")]
    debug_file: Option<PathBuf>,
    /// The stripped file that FILE was packed from; FILE must unpack to it. Without it, FILE.unpacked is looked for.
    #[arg(long, value_name = "FILE")]
    parent: Option<PathBuf>,
    /// The same file of the release before, for rules about growth.
    #[arg(long, value_name = "FILE")]
    previous: Option<PathBuf>,
    /// Bytes that may come out of compressed inputs, each input on its own.
    #[arg(long, default_value = "4 GiB", value_name = "SIZE", value_parser = policies::parse_size)]
    decompressed_max: u64,
    /// What is printed.
    #[arg(long, default_value = "human")]
    format: Format,
    /// A report written to a file as well, such as `sarif=gate.sarif`; may be given several times.
    #[arg(long, value_name = "FORMAT=PATH")]
    report: Vec<ReportFile>,
    /// Also show the rules that hold.
    #[arg(long, short)]
    verbose: bool,
    #[arg(long, default_value = "auto")]
    color: Color,
    /// Say what a rule catches, why that matters, an incident, and how to fix it.
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
}

#[derive(Subcommand)]
enum Compare {
    /// Say what changed between two releases of a file
    Diff(diff::Args),
}

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(Compare::Diff(args)) = &args.compare {
        return diff::run(args);
    }
    if let Some(id) = &args.explain {
        output::print(&explain(id)?)?;
        return Ok(Outcome::Pass);
    }
    let inputs = Inputs::of(&args.files)?;
    let of_one_file = [&args.parent, &args.debug_file, &args.previous];
    if inputs.files.len() > 1 && of_one_file.iter().any(|file| file.is_some()) {
        bail!(
            "--parent, --debug-file and --previous belong to one file, {} are given\nhint: judge them one by one",
            inputs.files.len()
        );
    }
    let previous_size_bytes = args.previous.as_ref().map(|path| {
        let metadata = std::fs::metadata(path);
        Ok::<_, anyhow::Error>(metadata.with_context(|| format!("cannot read `{}`", path.display()))?.len())
    });
    let judge = judge::Judge {
        previous_size_bytes: previous_size_bytes.transpose()?,
        policies: Policies::of(&args.policies)?,
        stage: args.stage,
        parent: args.parent.as_deref(),
        debug_file: args.debug_file.as_deref(),
        limits: Limits { decompressed_bytes_max: args.decompressed_max, ..Limits::default() },
    };
    let judged = in_parallel::map(&inputs.files, |input| judge.input(input));
    let not_elf = inputs.not_files + judged.iter().map(|input| input.not_elf).sum::<usize>();
    let files = judged.into_iter().flat_map(|input| input.reports).collect();
    let report = Report::new(files).with_skipped(not_elf, inputs.seen_before);
    // Reports are on disk before anything can end this process.
    output::write_files(&report, &args.report)?;
    output::append_step_summary(&report)?;
    output::print(&output::render(&report, args.format, output::style(args.color, args.verbose))?)?;
    match report.verdict {
        Verdict::Pass => Ok(Outcome::Pass),
        Verdict::Violation => Ok(Outcome::Violated),
        Verdict::CannotTell if report.files.is_empty() => {
            let others =
                if not_elf == 1 { "1 other file was" } else { &format!("{not_elf} other files were") };
            bail!("no ELF file was found, so nothing was judged; {others} skipped")
        }
        Verdict::CannotTell => bail!("not everything could be judged; what could not is marked `????`"),
    }
}

fn explain(id: &str) -> anyhow::Result<String> {
    match policy::rule(id) {
        Some(rule) => Ok(elf_gate::report::explain(rule)),
        None => {
            let known: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
            bail!("unknown rule `{id}`\nhint: the rules are {}", known.join(", "))
        }
    }
}
