//! `elf-gate size FILE`: the size of a file by crate, section and symbol, and its growth since another release.

use std::path::PathBuf;

use diag::{Diagnostic, Diagnostics};
use elf_facts::size::SizeBreakdown;

use crate::cli::baseline::Baseline;
use crate::cli::diff::DiffFormat;
use crate::cli::environment::Environment;
use crate::cli::evidence_file::EvidenceFile;
use crate::cli::output::Color;
use crate::cli::sidecar;
use crate::codes;
use crate::policy::Stage;
use crate::report::{SizeReport, Style};

/// Flags of `size`.
#[derive(Debug, clap::Args)]
pub struct SizeArgs {
    /// The file
    file: PathBuf,
    /// Split debug file with the symbols [default: the file that .gnu_debuglink names, next to FILE]
    #[arg(long, value_name = "FILE")]
    debug_file: Option<PathBuf>,
    /// The same file of an earlier release, or the dist-manifest.json of that release: shows the growth of each part
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Rows of each table
    #[arg(long, default_value = "10", value_name = "N")]
    top: usize,
    /// Format on stdout. JSON has all rows, as schemas/elf-gate-size-1.schema.json describes them
    #[arg(long, default_value = "human")]
    pub(super) format: DiffFormat,
    /// Use of colours
    #[arg(long, default_value = "auto")]
    color: Color,
}

/// The text for stdout.
pub(super) fn run(args: &SizeArgs, environment: &Environment) -> Result<String, Diagnostics> {
    let one = |error: Diagnostic| Diagnostics(vec![error]);
    let file = EvidenceFile::read(args.file.clone()).map_err(one)?;
    let debug_file = args.debug_file.clone().or_else(|| sidecar::debug_file(&file.path, &file.facts));
    let debug_file = debug_file.map(EvidenceFile::read).transpose().map_err(one)?;
    let debug_bytes = debug_file.as_ref().map(|file| &*file.bytes);
    let breakdown = SizeBreakdown::of(&file.bytes, debug_bytes, true).map_err(|error| {
        one(Diagnostic::new(&codes::ELF_MALFORMED, "the parts of the file cannot be listed")
            .file(&file.path)
            .cause(error))
    })?;
    let (stage, _) = Stage::detect(&file.facts);
    let baseline = args.baseline.as_deref().map(Baseline::read).transpose().map_err(one)?;
    let symbols_from = match &debug_file {
        Some(debug) if breakdown.has_symbols() => Some(debug.path.display().to_string()),
        _ => None,
    };
    let report = SizeReport {
        file: file.path.display().to_string(),
        stage,
        size_bytes: file.facts.size_bytes,
        symbols_from,
        baseline_size_bytes: baseline.as_ref().and_then(|baseline| baseline.size_bytes(stage)),
        baseline: baseline.as_ref().and_then(|baseline| baseline.breakdown(stage)),
        breakdown: &breakdown,
    };
    match args.format {
        DiffFormat::Human => {
            let style = Style { color: args.color.is_on(environment), shows_passes: false };
            Ok(report.to_human(args.top, style))
        }
        DiffFormat::Json => report.to_json().map_err(|error| {
            one(Diagnostic::new(&codes::REPORT_NOT_WRITTEN, "cannot render the sizes").cause(error))
        }),
    }
}
