//! The command line of the binary `elf-gate`, which `cargo xtask verify-elf` shares.
//!
//! This module defines the flags and the order of the steps. [`run`] writes to the given writers only. The gate starts one process
//! at most: `upx -d`, for compression methods that it does not support.

mod baseline;
mod debug_pairs;
mod diff;
mod environment;
mod evidence_file;
mod image_programs;
mod init;
mod input_bytes;
mod inputs;
mod job;
mod output;
mod policy_args;
mod sidecar;
mod size;
mod unpacking;

use std::collections::HashSet;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use diag::{Class, Diagnostic, Diagnostics, render};
use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use units::ByteSize;

pub use diff::{DiffArgs, DiffFormat};
pub use environment::Environment;
pub use init::InitArgs;
pub use input_bytes::{InputBytes, file as read_file};
pub use inputs::{Input, Inputs, Source};
pub use output::{Color, Format, ReportFile};
pub use policy_args::PolicyArgs;
pub use size::SizeArgs;

use crate::codes;
use crate::containers::WalkLimits;
use crate::policy::{Stage, Verdict, all_codes};
use crate::report::{FileReport, GateReport, Style, sanitized};
use baseline::Baseline;
use job::Job;
use policy_args::Policies;

/// Judge ELF files by a policy: stack size, static linking, symbols, hardening, stripping and UPX packing
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Files, folders, quoted patterns, `@LIST` (one name per line), `-` for stdin. ELF files inside of .a, tar, gzip, xz and
    /// zstd files and of images are judged as well
    #[arg(required_unless_present = "explain", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Stage whose rules apply [default: detected from the bytes; the report shows the reason]
    #[arg(long, value_name = "object|linked|stripped|debug|packed")]
    stage: Option<Stage>,
    #[command(flatten)]
    policy: PolicyArgs,
    /// Split debug file, which must belong to FILE [default: the file that .gnu_debuglink names, next to FILE]
    #[arg(long, value_name = "FILE")]
    debug_file: Option<PathBuf>,
    /// Stripped file from which FILE was packed; unpacking FILE must restore it [default: FILE.unpacked, if it exists]
    #[arg(long, value_name = "FILE")]
    parent: Option<PathBuf>,
    /// SHA-256 of the parent, when the file itself is not available; the parent is then not judged
    #[arg(long, value_name = "HEX", conflicts_with = "parent", value_parser = parse_sha256)]
    parent_sha256: Option<String>,
    /// The same file of an earlier release, or the dist-manifest.json of that release, for the rule size-growth
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Largest output of decompressors, for each input
    #[arg(long, default_value = "4 GiB", value_name = "SIZE")]
    decompressed_max: ByteSize,
    /// Format on stdout
    #[arg(long, default_value = "human")]
    format: Format,
    /// Additional report file, such as `sarif=gate.sarif`; may be repeated
    #[arg(long, value_name = "FORMAT=PATH")]
    report: Vec<ReportFile>,
    /// Also show rules that pass
    #[arg(long, short)]
    verbose: bool,
    /// Use of colours
    #[arg(long, default_value = "auto")]
    color: Color,
    /// Explain a rule or an error code: what it detects, why, and how to fix it
    #[arg(long, value_name = "CODE")]
    explain: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the differences between two releases of a file
    Diff(DiffArgs),
    /// Write the strictest policy that a file satisfies, with comments
    Init(InitArgs),
    /// Show the size of a file by crate, section and symbol
    Size(SizeArgs),
}

/// Result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// All rules of all files pass. Exit code 0.
    Pass,
    /// A rule is violated. Exit code 1.
    Violation,
    /// A file or rule could not be judged, or the command line or the policy is wrong. Exit code 2.
    Undecided,
}

impl Status {
    /// 0, 1 or 2.
    pub fn exit_code(self) -> u8 {
        match self {
            Status::Pass => 0,
            Status::Violation => 1,
            Status::Undecided => 2,
        }
    }

    fn of(verdict: Verdict) -> Status {
        match verdict {
            Verdict::Pass => Status::Pass,
            Verdict::Violation => Status::Violation,
            Verdict::CannotTell => Status::Undecided,
        }
    }
}

/// Runs the gate. Reports go to `out`, errors to `err`; with a format other than `human`, errors are also part of the document
/// on `out`, which is valid for every failure.
pub fn run(args: &Args, environment: &Environment, out: &mut dyn Write, err: &mut dyn Write) -> Status {
    let format = args.format();
    let text = match (&args.command, &args.explain) {
        (Some(Command::Diff(diff)), _) => Some(diff::run(diff, environment)),
        (Some(Command::Init(init)), _) => Some(init::run(init, environment)),
        (Some(Command::Size(size)), _) => Some(size::run(size, environment)),
        (None, Some(id)) => Some(explain(id, format).map_err(|error| Diagnostics(vec![error]))),
        (None, None) => None,
    };
    let report = match text {
        Some(Ok(text)) => return finish(output::print(out, &text).err(), Status::Pass, err),
        Some(Err(errors)) => Err(errors),
        None => judge_inputs(args, environment),
    };
    let (report, is_complete) = match report {
        Ok(report) => (report, true),
        Err(Diagnostics(errors)) => (GateReport::new(Vec::new()).with_diagnostics(errors), false),
    };
    // Report files are written before anything else can end the process.
    let mut errors = output::write_files(&report, &args.report);
    if let Some(path) = &environment.step_summary {
        errors.extend(output::append_step_summary(&report, path).err());
    }
    if is_complete || format != Format::Human {
        let style = Style { color: args.color.is_on(environment), shows_passes: args.verbose };
        let printed = output::render(&report, format, style).and_then(|text| output::print(out, &text));
        errors.extend(printed.err());
    }
    if !is_complete {
        errors.extend(report.diagnostics.iter().cloned());
    } else if report.verdict == Verdict::CannotTell
        && report.diagnostics.is_empty()
        && format == Format::Human
    {
        let message = "some files or rules could not be judged; they are marked `????`";
        errors.push(Diagnostic::new(&codes::NOT_DECIDED, message));
    }
    finish(errors, Status::of(report.verdict), err)
}

/// The report about a command line that does not parse: one error, in the format that the command line names. `None` for text,
/// and for `--help`.
pub fn usage_document(error: &clap::Error, args: impl Iterator<Item = OsString>) -> Option<String> {
    let format = requested_format(args).filter(|_| error.use_stderr())?;
    let message = error.to_string();
    let message = message.trim().trim_start_matches("error: ");
    let diagnostic = Diagnostic::new(&codes::USAGE, message).hint(codes::fix(&codes::USAGE));
    let report = GateReport::new(Vec::new()).with_diagnostics(vec![diagnostic]);
    output::render(&report, format, Style::default()).ok()
}

/// The value of `--format`, if it is a document format.
fn requested_format(args: impl Iterator<Item = OsString>) -> Option<Format> {
    let args: Vec<String> = args.filter_map(|arg| arg.into_string().ok()).collect();
    let value = args.iter().enumerate().find_map(|(index, arg)| match arg.strip_prefix("--format") {
        Some("") => args.get(index + 1).map(String::as_str),
        Some(rest) => rest.strip_prefix('='),
        None => None,
    });
    Format::from_str(value?, false).ok().filter(|format| *format != Format::Human)
}

fn finish(errors: impl IntoIterator<Item = Diagnostic>, status: Status, err: &mut dyn Write) -> Status {
    let errors: Vec<Diagnostic> = errors.into_iter().map(|error| sanitized(&error)).collect();
    // A closed stderr must not hide the status.
    let _ = err.write_all(render::human(&errors, render::Style::default()).as_bytes());
    let is_failure = errors.iter().any(|error| error.code().class != Class::Violation);
    if status == Status::Pass && is_failure { Status::Undecided } else { status }
}

impl Args {
    fn format(&self) -> Format {
        match &self.command {
            Some(Command::Diff(diff)) if diff.format == DiffFormat::Json => Format::Json,
            Some(Command::Size(size)) if size.format == DiffFormat::Json => Format::Json,
            Some(_) => Format::Human,
            None => self.format,
        }
    }
}

fn judge_inputs(args: &Args, environment: &Environment) -> Result<GateReport, Diagnostics> {
    let one = |error: Diagnostic| Diagnostics(vec![error]);
    let inputs = Inputs::of(&args.files).map_err(one)?;
    let policies = Policies::select(&args.policy, &args.files, &inputs.files)?;
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose().map_err(one)?;
    check_flags(args, inputs.files.len(), baseline.as_ref()).map_err(one)?;
    let paths = inputs.files.iter().filter_map(|input| input.path()?.canonicalize().ok());
    let job = Job {
        stage: args.stage,
        parent: args.parent.as_deref(),
        parent_sha256: args.parent_sha256.as_deref(),
        debug_file: args.debug_file.as_deref(),
        baseline,
        limits: WalkLimits { decompressed_bytes_max: args.decompressed_max.bytes(), ..WalkLimits::default() },
        today: environment.today,
        input_paths: paths.collect::<HashSet<PathBuf>>(),
    };
    let mut results: Vec<_> = inputs
        .files
        .par_iter()
        .enumerate()
        .map(|(index, input)| job.run(input, policies.of_input(index), None))
        .collect();
    // The program of a debug file is known only after all inputs were read.
    let pairs = debug_pairs::find(&inputs.files, &results);
    let run = |(index, program): &(usize, _)| {
        job.run(&inputs.files[*index], policies.of_input(*index), Some(program))
    };
    let again: Vec<_> = pairs.par_iter().map(run).collect();
    for ((index, _), again) in pairs.iter().zip(again) {
        results[*index] = again;
    }
    let not_elf = inputs.not_files + results.iter().map(|result| result.not_elf).sum::<usize>();
    let mut diagnostics = Vec::new();
    let mut used = Vec::new();
    let in_use = policies.in_use();
    for (policy, inputs) in &in_use {
        let reports: Vec<&FileReport> = inputs.iter().flat_map(|input| &results[*input].reports).collect();
        let names: Vec<&str> = reports.iter().map(|report| report.file.as_str()).collect();
        diagnostics.extend(policy.document.waivers_without_file(&names));
        used.push(policy.in_report(reports.len()));
        if in_use.len() > 1 {
            for input in inputs {
                for report in &mut results[*input].reports {
                    report.notes.push(format!("policy: `{}`", policy.name()));
                }
            }
        }
    }
    let files: Vec<FileReport> = results.into_iter().flat_map(|result| result.reports).collect();
    if files.is_empty() {
        let others =
            if not_elf == 1 { "1 other file was".into() } else { format!("{not_elf} other files were") };
        let message = format!("no ELF file was found; {others} skipped");
        diagnostics.push(Diagnostic::new(&codes::NO_ELF_FILE, message).hint(codes::fix(&codes::NO_ELF_FILE)));
    }
    Ok(GateReport::new(files)
        .with_skipped(not_elf, inputs.duplicates)
        .with_diagnostics(diagnostics)
        .with_policies(used))
}

/// Flags that apply to one file require one input.
fn check_flags(args: &Args, inputs: usize, baseline: Option<&Baseline>) -> Result<(), Diagnostic> {
    let flags = [
        ("--parent", args.parent.is_some()),
        ("--parent-sha256", args.parent_sha256.is_some()),
        ("--debug-file", args.debug_file.is_some()),
        ("--baseline", matches!(baseline, Some(Baseline::File { .. }))),
    ];
    match flags.into_iter().find(|(_, is_given)| *is_given && inputs > 1) {
        None => Ok(()),
        Some((flag, _)) => {
            let hint = match flag {
                "--baseline" => {
                    "pass the dist-manifest.json of that release, which has the sizes of all files"
                }
                _ => "judge the files one by one",
            };
            let message = format!("`{flag}` applies to one file, but {inputs} files are given");
            Err(Diagnostic::new(&codes::USAGE, message).hint(hint))
        }
    }
}

fn parse_sha256(text: &str) -> Result<String, String> {
    match text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_lowercase()),
        false => Err("expected 64 hexadecimal digits, the output of `sha256sum`".into()),
    }
}

fn explain(id: &str, format: Format) -> Result<String, Diagnostic> {
    let known = || all_codes().chain(diag::CODES.iter().copied());
    let unknown = || diag::unknown_code(id, known().map(|code| code.id), "docs/gates.md");
    let code = known().find(|code| code.id == id).ok_or_else(unknown)?;
    match format {
        Format::Human => Ok(diag::explain(code)),
        Format::Json => Ok(render::explanation_json(code)),
        Format::Sarif | Format::Junit | Format::Github => {
            let message =
                "`--explain` prints text or JSON: the other formats have no place for an explanation";
            Err(Diagnostic::new(&codes::USAGE, message).hint("use `--format human` or `--format json`"))
        }
    }
}
