//! Which policy a file of a stage is judged by: a preset, a file, or the default.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use elf_gate::policy::{Date, PolicyDocument, StackSize};
use elf_gate::{Policy, Stage};
use release::failure::Failure;

#[derive(clap::Args)]
pub struct PolicyArgs {
    /// static-musl, static-pie-musl, hardened-glibc or shared-library; without it, static-musl with a stack of 8 MiB.
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// A policy of your own: a TOML file, as docs/gates.md describes it.
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
    stack_size: Option<u64>,
    /// For waivers, which end.
    pub today: Date,
}

impl Policies {
    pub fn of(args: &PolicyArgs) -> anyhow::Result<Policies> {
        let is_default = args.preset.is_none() && args.policy.is_none();
        let stack_size = args.stack_size.or(is_default.then_some(DEFAULT_STACK_BYTES));
        let document = match &args.policy {
            None => PolicyDocument::preset(args.preset.as_deref().unwrap_or("static-musl"))
                .map_err(|error| Failure::new(error.to_string()))?,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("cannot read the policy `{}`", path.display()))?;
                PolicyDocument::parse(&text).map_err(|error| {
                    Failure::new(format!("policy `{}`: {error}", path.display())).hint(error.hint())
                })?
            }
        };
        Ok(Policies { document, stack_size, today: today()? })
    }

    pub fn at(&self, stage: Stage) -> Policy {
        let mut policy = self.document.at(stage);
        if let Some(bytes) = self.stack_size {
            policy.stack_size = StackSize::exactly(bytes);
        }
        policy
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
