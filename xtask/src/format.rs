//! `--format` of the verbs that print data: text, or one JSON document.

use clap::ValueEnum;
use diag::Diagnostic;
use diag::render::{SCHEMA_VERSION, Style, human, json};
use serde_json::Value;

use crate::Outcome;
use crate::stdout;

/// How a verb prints its result.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Human,
    Json,
}

/// Passes a result on. With `--format json` an error is also printed on stdout as data.
pub fn errors_as_data<T>(format: Format, result: anyhow::Result<T>) -> anyhow::Result<T> {
    if let (Format::Json, Err(error)) = (format, &result) {
        stdout::print(&json(&diag::collect(error)))?;
    }
    result
}

/// Prints the result of a verb.
pub fn print(format: Format, human: impl FnOnce() -> String, mut json: Value) -> anyhow::Result<()> {
    stdout::print(&match format {
        Format::Human => human(),
        Format::Json => {
            json["schema_version"] = SCHEMA_VERSION.into();
            format!("{json:#}\n")
        }
    })
}

/// Prints diagnostics as text on stderr, unless they are part of a JSON document already.
pub fn print_diagnostics(format: Format, diagnostics: &[Diagnostic]) {
    if format == Format::Human {
        eprint!("{}", human(diagnostics, Style::default()));
    }
}

/// The outcome of a verb that found these.
pub fn outcome(diagnostics: &[Diagnostic]) -> Outcome {
    match diagnostics.is_empty() {
        true => Outcome::Pass,
        false if diag::exit_code(diagnostics) == 1 => Outcome::Violated,
        false => Outcome::NotMeasured,
    }
}
