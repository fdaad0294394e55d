//! The command line: one module per command, and the dispatch.
//!
//! Data goes to stdout, diagnostics go to stderr.

mod blas_core;
mod compute;
mod config;
mod embed;
mod exit;
mod explain;
mod healthcheck;
mod output;
mod panic_report;
mod selftest;
mod serve;
mod threads;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use diag::Diagnostic;

use self::config::Settings;
use self::exit::ErrorFormat;
use self::output::Stop;
use crate::{build_info, codes, crash};

#[derive(Parser)]
#[command(name = build_info::NAME, about = "The inference server", version = build_info::short(), long_version = build_info::long())]
#[command(arg_required_else_help = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Embed texts; prints one JSON object per line
    Embed(embed::Flags),
    /// Serve models over HTTP
    Serve(Box<serve::Flags>),
    /// Check whether a server on this machine is ready
    Healthcheck(healthcheck::Flags),
    /// Check this executable on this machine: thread stacks, OpenBLAS, a known embedding, the server
    Selftest(selftest::Flags),
    /// Explain a diagnostic code
    Explain(explain::Flags),
}

impl Command {
    fn error_format(&self) -> ErrorFormat {
        match self {
            Self::Selftest(flags) if flags.json => ErrorFormat::Json,
            Self::Serve(flags) if flags.logs_json() => ErrorFormat::JsonLine,
            _ => ErrorFormat::Text,
        }
    }
}

/// Runs the program with `args`, the name of the executable first.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    crash::install();
    panic_report::install();
    let args: Vec<_> = args.into_iter().collect();
    let (command, settings) = match parse(&args) {
        Ok(parsed) => parsed,
        Err(ParseError::Config(diagnostic)) => return exit::report(&diagnostic, ErrorFormat::Text),
        Err(ParseError::Clap(error)) => return print_clap(&error, &args),
    };
    let error_format = command.error_format();
    let result = std::panic::catch_unwind(|| match command {
        Command::Embed(flags) => embed::run(flags, &args),
        Command::Serve(flags) => serve::run(*flags, settings),
        Command::Healthcheck(flags) => healthcheck::run(&flags),
        Command::Selftest(flags) => selftest::run(&flags),
        Command::Explain(flags) => explain::run(&flags),
    });
    match result {
        Ok(Ok(code)) => code,
        Ok(Err(diagnostic)) => exit::report(&diagnostic, error_format),
        // The panic hook has printed the report.
        Err(_) => ExitCode::from(exit::FAILURE),
    }
}

enum ParseError {
    /// An error with clap's own text, or the text of `--help` or `--version`.
    Clap(clap::Error),
    Config(Diagnostic),
}

/// Parses the command line. For `serve` with `--config` it is parsed again, with the values of the file as defaults.
fn parse(args: &[OsString]) -> Result<(Command, Settings), ParseError> {
    let new_command = || config::with_variables(Cli::command());
    let mut matches = new_command().try_get_matches_from(args).map_err(ParseError::Clap)?;
    let mut settings = Settings::default();
    if let Some(serve) = matches.subcommand_matches(config::COMMAND) {
        // clap does not support changes to a command after its first use.
        let mut command = config::with_file(new_command(), serve).map_err(ParseError::Config)?;
        let file = serve.get_one::<PathBuf>(config::CONFIG).cloned();
        // The first parse succeeded, so an error comes from the file.
        matches = command.try_get_matches_from_mut(args).map_err(|error| match &file {
            Some(file) => ParseError::Config(
                config::invalid(file, "the configuration file holds an invalid value")
                    .cause(first_line(&error)),
            ),
            None => ParseError::Clap(error),
        })?;
        if let Some(serve) = matches.subcommand_matches(config::COMMAND) {
            settings = config::settings(&new_command(), serve);
        }
    }
    let cli = Cli::from_arg_matches(&matches).map_err(ParseError::Clap)?;
    Ok((cli.command, settings))
}

fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

/// Prints clap's message, also the text of `--help` and `--version`. With `--json` an error is a JSON document.
fn print_clap(error: &clap::Error, args: &[OsString]) -> ExitCode {
    if error.use_stderr() && args.iter().any(|arg| arg == "--json") {
        let diagnostic = Diagnostic::new(&codes::INVALID_ARGUMENT, first_line(error));
        return exit::report(&diagnostic.hint(codes::fix(&codes::INVALID_ARGUMENT)), ErrorFormat::Json);
    }
    match error.print().map_err(output::stop) {
        Ok(()) | Err(Stop::ReaderGone) => ExitCode::from(error.exit_code() as u8),
        Err(Stop::Failed(diagnostic)) => exit::report(&diagnostic, ErrorFormat::Text),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        super::config::with_variables(super::Cli::command()).debug_assert();
    }
}
