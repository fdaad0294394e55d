//! `cargo xtask verify-elf FILE...`: judges ELF files by the gate's rules, whoever built them.
//!
//! Reads the files, lets `elf-gate` judge, prints. The one process that it may start is `upx -d`, and only for a
//! `--parent` comparison that the gate's own decompressor cannot do.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{IsTerminal, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};
use clap::ValueEnum;
use elf_gate::policy::{self, RULES};
use elf_gate::report::{FileReport, Report};
use elf_gate::{Evidence, Facts, Policy, Stage, Verdict};
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::Outcome;

/// Judge ELF files: stack size, static linking, symbols, stripping, and what UPX wrapped.
#[derive(clap::Args)]
pub struct Args {
    /// The files to judge.
    #[arg(required_unless_present = "explain", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whose rules apply; without it the bytes decide, and the report says why.
    #[arg(long, value_name = "linked|stripped|packed")]
    stage: Option<Stage>,
    #[arg(long, default_value = "human")]
    format: Format,
    #[arg(long, default_value = "auto")]
    color: Color,
    /// Exact size that PT_GNU_STACK must have.
    #[arg(long, default_value = "8 MiB", value_name = "SIZE", value_parser = parse_size)]
    stack_size: u64,
    /// The split debug file that must belong to FILE.
    #[arg(long, value_name = "FILE")]
    debug_file: Option<PathBuf>,
    /// The stripped file that FILE was packed from; FILE must unpack to it.
    #[arg(long, value_name = "FILE")]
    parent: Option<PathBuf>,
    /// Say what a rule catches, why that matters and how to fix it.
    #[arg(long, value_name = "RULE")]
    explain: Option<String>,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Format {
    Human,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Color {
    Auto,
    Always,
    Never,
}

/// Beyond this an unpacked file is not one of ours; the header of a packed file can promise up to 4 GiB.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    if let Some(id) = &args.explain {
        print(&explain(id)?)?;
        return Ok(Outcome::Pass);
    }
    if args.files.len() > 1 && (args.parent.is_some() || args.debug_file.is_some()) {
        bail!(
            "--parent and --debug-file belong to one file, {} are given\nhint: judge them one by one",
            args.files.len()
        );
    }
    let report = Report::new(args.files.iter().map(|path| judge_file(path, args)).collect());
    match args.format {
        Format::Json => print(&report.to_json()?)?,
        Format::Human => print(&report.to_human(with_color(args.color)))?,
    }
    match report.verdict {
        Verdict::Pass => Ok(Outcome::Pass),
        Verdict::Violation => Ok(Outcome::Violated),
        Verdict::CannotTell => bail!("not everything could be judged; what could not is marked `????`"),
    }
}

/// Where the policy of a stage comes from.
fn policy_for(stage: Stage, args: &Args) -> Policy {
    let mut policy = Policy::static_musl(stage, args.stack_size);
    policy.needs_debug_file = args.debug_file.is_some();
    policy
}

fn judge_file(path: &Path, args: &Args) -> FileReport {
    let name = path.display().to_string();
    let (bytes, facts) = match read(path) {
        Ok(read) => read,
        Err(Unreadable { error, hint }) => return FileReport::unreadable(name, error, hint),
    };
    let (stage, because) = match args.stage {
        Some(stage) => (stage, None),
        None => {
            let (stage, because) = Stage::detect(&facts);
            (stage, Some(because.to_string()))
        }
    };
    let mut evidence = Evidence::default();
    let debug = match args.debug_file.as_deref().map(read).transpose() {
        Ok(debug) => debug,
        Err(Unreadable { error, hint }) => {
            return FileReport::unreadable(name, format!("debug file: {error}"), hint);
        }
    };
    if let Some((bytes, facts)) = &debug {
        evidence.debug_file = Some(facts);
        evidence.debug_file_bytes = Some(bytes);
        evidence.debug_file_name = args.debug_file.as_ref().and_then(|path| path.file_name()?.to_str());
    }
    let parent = match args.parent.as_deref().map(read).transpose() {
        Ok(parent) => parent,
        Err(Unreadable { error, hint }) => {
            return FileReport::unreadable(name, format!("parent: {error}"), hint);
        }
    };
    let parent_sha256 = parent.as_ref().map(|(bytes, _)| sha256_hex(bytes));
    let unpacked = parent.as_ref().and_then(|_| unpacked_sha256(path, &bytes, &facts));
    evidence.parent = parent.as_ref().map(|(_, facts)| facts);
    evidence.parent_sha256 = parent_sha256.as_deref();
    evidence.unpacked_sha256 = unpacked.as_ref().map(|result| result.as_deref().map_err(String::as_str));
    let rules = policy::judge(&facts, stage, &policy_for(stage, args), &evidence);
    FileReport::judged(name, stage, because, facts.size_bytes, rules)
}

struct Unreadable {
    error: String,
    hint: String,
}

/// Mapped: the gate looks at headers, tables and names, which are a small part of a large file.
fn read(path: &Path) -> Result<(Mmap, Facts), Unreadable> {
    let io = |error: std::io::Error| Unreadable {
        error: format!("cannot read `{}`: {error}", path.display()),
        hint: format!("`ls -l {}` shows what is there", path.display()),
    };
    let meta = std::fs::metadata(path).map_err(io)?;
    if meta.is_dir() {
        return Err(Unreadable {
            error: format!("`{}` is a directory, expected an ELF file", path.display()),
            hint: format!("name the files in it: `cargo xtask verify-elf {}/*`", path.display()),
        });
    }
    // To open a pipe would wait for somebody who writes into it.
    if !meta.is_file() {
        return Err(Unreadable {
            error: format!("`{}` is a pipe, a socket or a device, expected an ELF file", path.display()),
            hint: "write what comes out of it into a file and give that".into(),
        });
    }
    let file = File::open(path).map_err(io)?;
    // SAFETY: the map is private and read-only, and lives no longer than this verb. Nobody else writes to a file that is
    // being judged; should one shrink meanwhile, the process ends by SIGBUS, which is no pass.
    let bytes = unsafe { Mmap::map(&file) }.map_err(io)?;
    match elf_gate::inspect(&bytes) {
        Ok(facts) => Ok((bytes, facts)),
        Err(error) => Err(Unreadable {
            error: format!("`{}`: {error}", path.display()),
            hint: error.hint().to_string(),
        }),
    }
}

/// Nothing when the file is not packed, or when neither the gate nor UPX can unpack it.
fn unpacked_sha256(path: &Path, bytes: &[u8], facts: &Facts) -> Option<Result<String, String>> {
    use elf_gate::upx::UnpackError;
    match elf_gate::upx::unpack(bytes, facts.upx.as_ref()?, UNPACKED_BYTES_MAX) {
        Ok(original) => Some(Ok(sha256_hex(&original))),
        Err(
            error @ (UnpackError::Layout(_) | UnpackError::Checksum { .. } | UnpackError::TooLarge { .. }),
        ) => Some(Err(error.to_string())),
        // A method or filter that the gate does not know: UPX may.
        Err(error) => Some(unpack_with_upx(path)?.map_err(|upx| format!("{error}; {upx:#}"))),
    }
}

/// Nothing when there is no UPX on this machine.
fn unpack_with_upx(path: &Path) -> Option<anyhow::Result<String>> {
    let is_there = |name: &&str| Command::new(name).env_remove("UPX").arg("--version").output().is_ok();
    let upx = ["upx", "upx-ucl"].into_iter().find(is_there)?;
    let unpack = || {
        let folder = tempfile::tempdir()?;
        let out = folder.path().join("unpacked");
        let run = Command::new(upx).env_remove("UPX").args(["-qqd", "-o"]).arg(&out).arg(path).output()?;
        if !run.status.success() {
            bail!("`{upx} -d -o OUT {}`: {}", path.display(), String::from_utf8_lossy(&run.stderr).trim());
        }
        Ok(sha256_hex(&std::fs::read(&out)?))
    };
    Some(unpack())
}

fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn explain(id: &str) -> anyhow::Result<String> {
    let Some(rule) = policy::rule(id) else {
        let known: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
        bail!("unknown rule `{id}`\nhint: the rules are {}", known.join(", "));
    };
    let stages: Vec<&str> = rule.stages.iter().map(|stage| stage.name()).collect();
    Ok(format!(
        "{} (at {})\n  catches  {}\n  why      {}\n  fix      {}\n",
        rule.id,
        stages.join(", "),
        rule.catches,
        rule.why,
        rule.fix
    ))
}

fn with_color(color: Color) -> bool {
    match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => {
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
        }
    }
}

/// A reader that went away (`| head`) is no error of ours.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to stdout")
        }
        _ => Ok(()),
    }
}

fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match text[digits.len()..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        other => return Err(format!("unknown unit `{other}`: expected `KiB`, `MiB`, `GiB` or plain bytes")),
    };
    let number: u64 = digits.trim().parse().map_err(|_| format!("`{digits}` is not a whole number"))?;
    number.checked_mul(unit).ok_or_else(|| format!("`{text}` does not fit 64 bits"))
}
