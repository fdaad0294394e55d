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
mod owners;
mod policies;
pub mod read;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::Subcommand;
use elf_gate::containers::Limits;
use elf_gate::policy::{self, RULES};
use elf_gate::report::{FileReport, Report};
use elf_gate::{Stage, Verdict};

use crate::Outcome;
use inputs::Inputs;
use judge::PreviousRelease;
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
    #[arg(long, value_name = "object|linked|stripped|debug|packed")]
    stage: Option<Stage>,
    #[command(flatten)]
    policies: policies::PolicyArgs,
    /// The split debug file that must belong to FILE; without it, one that lies beside FILE is used.
    #[arg(long, value_name = "FILE")]
    debug_file: Option<PathBuf>,
    /// The stripped file that FILE was packed from; FILE must unpack to it. Without it, FILE.unpacked is looked for.
    #[arg(long, value_name = "FILE")]
    parent: Option<PathBuf>,
    /// SHA-256 of that file, where it is not at hand; its own judgement is then left to whoever has it.
    #[arg(long, value_name = "HEX", conflicts_with = "parent", value_parser = parse_sha256)]
    parent_sha256: Option<String>,
    /// The same file of the release before, or that release's dist-manifest.json, for rules about growth.
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
    let of_one_file = args.parent.is_some() || args.parent_sha256.is_some() || args.debug_file.is_some();
    if inputs.files.len() > 1 && of_one_file {
        bail!(
            "--parent, --parent-sha256 and --debug-file belong to one file, {} are given\nhint: judge them one by one",
            inputs.files.len()
        );
    }
    let canonical = |path: &Path| path.canonicalize().ok();
    let paths: HashSet<PathBuf> = inputs.files.iter().filter_map(|input| canonical(input.path()?)).collect();
    let previous = args.previous.as_deref().map(PreviousRelease::of).transpose()?;
    if let (Some(PreviousRelease::FileBytes(_)), 2..) = (&previous, inputs.files.len()) {
        bail!(
            "--previous names one file, {} are given\nhint: give the dist-manifest.json of that release, which knows each of them",
            inputs.files.len()
        );
    }
    let judge = judge::Judge {
        previous,
        policies: Policies::of(&args.policies)?,
        stage: args.stage,
        parent: args.parent.as_deref(),
        parent_sha256: args.parent_sha256.as_deref(),
        debug_file: args.debug_file.as_deref(),
        limits: Limits { decompressed_bytes_max: args.decompressed_max, ..Limits::default() },
        is_input: &|path| canonical(path).is_some_and(|path| paths.contains(&path)),
    };
    let mut judged = in_parallel::map(&inputs.files, |input| judge.input(input, None));
    // Which program a debug file belongs to is known when all programs have been seen.
    let owned = owners::find(&inputs.files, &judged);
    let again = in_parallel::map(&owned, |(index, owner)| judge.input(&inputs.files[*index], Some(owner)));
    for ((index, _), again) in owned.iter().zip(again) {
        judged[*index] = again;
    }
    let not_elf = inputs.not_files + judged.iter().map(|input| input.not_elf).sum::<usize>();
    let mut files: Vec<FileReport> = judged.into_iter().flat_map(|input| input.reports).collect();
    files.extend(judge.policies.unused_waivers(&files));
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

fn parse_sha256(text: &str) -> Result<String, String> {
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_lowercase()),
        false => Err("expected 64 hexadecimal digits, as `sha256sum` prints them".into()),
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
