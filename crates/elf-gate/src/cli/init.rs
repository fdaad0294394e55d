//! `elf-gate init FILE`: a policy for the builds that follow, derived from a file.

use std::path::{Path, PathBuf};

use diag::{Diagnostic, Diagnostics};
use elf_facts::facts::Facts;

use crate::cli::environment::Environment;
use crate::cli::evidence_file::EvidenceFile;
use crate::cli::output;
use crate::cli::sidecar;
use crate::cli::unpacking::{sha256_hex, unpacked_sha256};
use crate::policy::{Evidence, POLICY_FILE_NAME, PolicyDocument, Stage, StrictestTable, strictest};
use crate::report::printable;

/// Flags of `init`.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    /// The file that the policy is derived from
    file: PathBuf,
    /// Stage whose rules apply [default: detected from the bytes]
    #[arg(long, value_name = "object|linked|stripped|debug|packed")]
    stage: Option<Stage>,
    /// Split debug file [default: the file that .gnu_debuglink names, next to FILE]
    #[arg(long, value_name = "FILE")]
    debug_file: Option<PathBuf>,
    /// Stripped file from which FILE was packed [default: FILE.unpacked, if it exists]
    #[arg(long, value_name = "FILE")]
    parent: Option<PathBuf>,
    /// Policy file to write, which must not exist [default: stdout]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// The text for stdout; empty with `--output`.
pub(super) fn run(args: &InitArgs, environment: &Environment) -> Result<String, Diagnostics> {
    let one = |error: Diagnostic| Diagnostics(vec![error]);
    let text = policy_text(args, environment).map_err(one)?;
    // A policy that the gate refuses is useless, so it is not written.
    PolicyDocument::parse(&text)?;
    let Some(path) = &args.output else { return Ok(text) };
    output::write_new(path, text.as_bytes()).map_err(one)?;
    Ok(String::new())
}

fn policy_text(args: &InitArgs, environment: &Environment) -> Result<String, Diagnostic> {
    let file = EvidenceFile::read(args.file.clone())?;
    let stage = args.stage.unwrap_or_else(|| Stage::detect(&file.facts).0);
    let debug_file = |path: &Path, facts: &Facts| {
        let found = args.debug_file.clone().or_else(|| sidecar::debug_file(path, facts));
        found.map(EvidenceFile::read).transpose()
    };
    let is_packed = stage == Stage::Packed;
    let parent = args.parent.clone().or_else(|| sidecar::parent(&file.path, false, &file.facts));
    let parent = parent.filter(|_| is_packed).map(EvidenceFile::read).transpose()?;
    let debug = if stage == Stage::Stripped { debug_file(&file.path, &file.facts)? } else { None };
    let table = derive(&file, stage, debug.as_ref(), parent.as_ref(), environment);
    let name = printable(&args.file.display().to_string());
    let mut out = format!(
        "# Written by `elf-gate init` (elf-gate {}) from `{name}` ({stage}).\n\
         # The strictest requirements that this file satisfies. Judge the next build by them:\n\
         #\n\
         #     elf-gate --policy {POLICY_FILE_NAME} --stage {stage} FILE\n\
         #\n\
         # `elf-gate FILE` finds a `{POLICY_FILE_NAME}` in the folder of FILE. `elf-gate --explain RULE` describes a rule.\n\
         gate_version = \"{}\"\n\n",
        env!("CARGO_PKG_VERSION"),
        env!("CARGO_PKG_VERSION"),
    );
    match &parent {
        // The parent is judged in the same run, by its own table.
        Some(parent) => {
            let debug = debug_file(&parent.path, &parent.facts)?;
            let (stage, _) = Stage::detect(&parent.facts);
            let of_parent = derive(parent, stage, debug.as_ref(), None, environment);
            out += &table.to_text(Stage::Packed.name());
            out += "\n# The file before packing.\n";
            out += &of_parent.to_text(stage.name());
        }
        // For every stage: a next build that is not stripped, or not packed, is judged by the same requirements.
        None => out += &table.to_text("every"),
    }
    Ok(out)
}

fn derive(
    file: &EvidenceFile,
    stage: Stage,
    debug_file: Option<&EvidenceFile>,
    parent: Option<&EvidenceFile>,
    environment: &Environment,
) -> StrictestTable {
    let parent_sha256 = parent.map(|parent| sha256_hex(&parent.bytes));
    let unpacked = parent.and_then(|_| unpacked_sha256(&file.bytes, &file.facts));
    let evidence = Evidence {
        debug_file: debug_file.map(|file| &file.facts),
        debug_file_bytes: debug_file.map(|file| &*file.bytes),
        debug_file_name: debug_file.and_then(|file| file.path.file_name()?.to_str()),
        own_bytes: Some(&file.bytes),
        parent: parent.map(|parent| &parent.facts),
        parent_sha256: parent_sha256.as_deref(),
        unpacked_sha256: unpacked.as_ref().map(|result| result.as_deref().map_err(String::as_str)),
        today: environment.today,
        ..Evidence::default()
    };
    strictest(&file.facts, stage, &evidence)
}
