//! Which policy a file of a stage is judged by.

use elf_gate::{Policy, Stage};

#[derive(clap::Args)]
pub struct PolicyArgs {
    /// Exact size that PT_GNU_STACK must have.
    #[arg(long, default_value = "8 MiB", value_name = "SIZE", value_parser = parse_size)]
    stack_size: u64,
}

pub struct Policies {
    stack_size: u64,
}

impl Policies {
    pub fn of(args: &PolicyArgs) -> anyhow::Result<Policies> {
        Ok(Policies { stack_size: args.stack_size })
    }

    pub fn at(&self, stage: Stage) -> Policy {
        Policy::static_musl(stage, self.stack_size)
    }
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
