//! Which policy a file of a stage is judged by: a preset, a file, or the default.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use diag::Diagnostic;
use elf_gate::facts::LocalPathSearch;
use elf_gate::policy::{Date, PolicyDocument, StackSize};
use elf_gate::report::FileReport;
use elf_gate::{Policy, Stage};
use release::config::Config;
use release::gate;

#[derive(clap::Args)]
pub struct PolicyArgs {
    /// static-musl, static-pie-musl, hardened-glibc or shared-library; without it, static-musl with a stack of 8 MiB.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// A policy of your own: a TOML file, as docs/gates.md describes it, or a release.toml, whose [gate] it then is.
    #[arg(long, value_name = "FILE", conflicts_with = "preset")]
    policy: Option<PathBuf>,
    /// Exact size that PT_GNU_STACK must have, whatever the policy says.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    stack_size: Option<u64>,
}

/// All that musl gives to a thread that asks for no size of its own.
const DEFAULT_STACK_BYTES: u64 = 8 << 20;

pub struct Policies {
    document: PolicyDocument,
    /// The policy's file, for what is wrong with it as a whole.
    path: Option<PathBuf>,
    release: Option<Config>,
    stack_size: Option<u64>,
    /// What to look for in the bytes; made once for all files.
    pub local_paths: LocalPathSearch,
    /// For waivers, which end.
    pub today: Date,
}

impl Policies {
    pub fn of(args: &PolicyArgs) -> anyhow::Result<Policies> {
        let is_default = args.preset.is_none() && args.policy.is_none();
        let stack_size = args.stack_size.or(is_default.then_some(DEFAULT_STACK_BYTES));
        let mut release = None;
        let document = match &args.policy {
            None => PolicyDocument::preset(args.preset.as_deref().unwrap_or("static-musl"))
                .map_err(|error| Diagnostic::new(&release::GENERAL, error.to_string()))?,
            Some(path) => {
                let text = std::fs::read_to_string(path).map_err(|error| {
                    Diagnostic::new(
                        &release::GENERAL,
                        format!("cannot read the policy `{}`: {error}", path.display()),
                    )
                    .hint("`--preset static-musl` needs no file; docs/gates.md says how to write one")
                })?;
                if Config::is_in(&text) {
                    let config = Config::parse(&text, path)?;
                    let document = config.gate.clone();
                    release = Some(config);
                    document
                } else {
                    PolicyDocument::parse(&text).map_err(|error| {
                        Diagnostic::new(&release::GENERAL, format!("policy `{}`: {error}", path.display()))
                            .hint(error.hint())
                    })?
                }
            }
        };
        Ok(Policies {
            local_paths: document.local_paths(),
            release,
            path: args.policy.clone(),
            document,
            stack_size,
            today: today()?,
        })
    }

    pub fn at(&self, stage: Stage) -> Policy {
        let mut policy = match &self.release {
            // Stack size and machine stand elsewhere in it.
            Some(config) => gate::policy(config, &config.product.targets[0], stage),
            None => self.document.at(stage),
        };
        if let Some(bytes) = self.stack_size {
            policy.stack_size = StackSize::exactly(bytes);
        }
        policy
    }

    /// A waiver for a file that is not there is one that nobody uses; only a look at all files can tell.
    pub fn unused_waivers(&self, reports: &[FileReport]) -> Option<FileReport> {
        let files: Vec<&str> = reports.iter().map(|report| report.file.as_str()).collect();
        let unused = self.document.waivers_of_no_file(&files);
        let name = self.path.as_ref().map_or("policy".into(), |path| path.display().to_string());
        let hint = "remove the waiver, or judge that file in the same run";
        (!unused.is_empty()).then(|| FileReport::refused(name, unused.join("; "), hint))
    }
}

/// A waiver ends on a day of the world, not on the day of a commit.
#[expect(clippy::disallowed_methods, reason = "nothing that is released depends on it")]
fn today() -> anyhow::Result<Date> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(Date::of_unix_time(now.as_secs()))
}

pub fn parse_size(text: &str) -> Result<u64, String> {
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
