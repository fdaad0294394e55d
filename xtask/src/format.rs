//! `--format` of the verbs: text, or one JSON document on stdout. The flag of most verbs is in `setup::Common`; `main` reads it once
//! and prints errors in its form.

use std::ffi::OsString;

use clap::ValueEnum;
use diag::render::{SCHEMA_VERSION, Style, human, json};
use diag::{Diagnostic, Diagnostics};
use serde_json::Value;

use crate::Outcome;
use crate::stdout;

diag::codes! {
    /// The command line does not parse.
    pub USAGE = Usage "xtask-usage": "the command line of `cargo xtask` is not valid" {
        "cause": "an unknown verb or flag, or a value of another form",
        "fix": "`cargo xtask --help` lists the verbs, `cargo xtask VERB --help` the arguments of one",
    }
}

/// How a verb prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Human,
    Json,
}

impl Format {
    /// Of a command line that does not parse. What follows `--` belongs to another program.
    fn requested(args: impl Iterator<Item = OsString>) -> Self {
        let args: Vec<OsString> = args.take_while(|arg| arg != "--").collect();
        let is_json = args.iter().any(|arg| arg == "--format=json")
            || args.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "json");
        if is_json { Self::Json } else { Self::Human }
    }
}

/// The document about a command line that does not parse; `None` for text, and for `--help`.
pub fn usage_document(error: &clap::Error, args: impl Iterator<Item = OsString>) -> Option<String> {
    if !error.use_stderr() || Format::requested(args) == Format::Human {
        return None;
    }
    let message = error.to_string();
    let diagnostic = Diagnostic::new(&USAGE, message.trim().trim_start_matches("error: "))
        .hint("`cargo xtask --help` lists the verbs, `cargo xtask VERB --help` the arguments of one");
    Some(json(&[diagnostic]))
}

/// Prints errors as text on stderr, and with `--format json` also as a document on stdout.
pub fn print_errors(format: Format, errors: &[Diagnostic], style: Style) {
    eprint!("{}", human(errors, style));
    if format == Format::Json {
        // The errors are on stderr too, and the exit status does not depend on stdout.
        let _ = stdout::print(&json(errors));
    }
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

/// Prints a part of the result as soon as it is known. The JSON document has all parts, at the end.
pub fn print_part(format: Format, text: &str) -> anyhow::Result<()> {
    match format {
        Format::Human => stdout::print(text),
        Format::Json => Ok(()),
    }
}

/// Prints diagnostics as text on stderr, unless they are part of a JSON document already.
pub fn print_diagnostics(format: Format, diagnostics: &[Diagnostic]) {
    if format == Format::Human {
        eprint!("{}", human(diagnostics, Style::default()));
    }
}

/// The outcome of a verb that found these and printed them.
pub fn outcome(diagnostics: &[Diagnostic]) -> Outcome {
    match diagnostics.is_empty() {
        true => Outcome::Pass,
        false if diag::exit_code(diagnostics) == 1 => Outcome::Violated,
        false => Outcome::NotMeasured,
    }
}

/// The outcome of a verb whose document has these; `main` prints them as text.
pub fn problems(Diagnostics(problems): Diagnostics) -> Outcome {
    match problems.is_empty() {
        true => Outcome::Pass,
        false => Outcome::Problems(problems),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_of_an_invalid_command_line_is_the_one_that_it_names() {
        let of = |line: &str| Format::requested(line.split(' ').map(OsString::from));
        assert_eq!(of("dist --format json --no-such-flag"), Format::Json);
        assert_eq!(of("dist --no-such-flag --format=json"), Format::Json);
        assert_eq!(of("dist --format human json"), Format::Human);
        assert_eq!(of("test -- --format json"), Format::Human);
    }
}
