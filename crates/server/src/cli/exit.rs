//! Exit codes, and the output of the diagnostic that ends a command.
//!
//! Exit codes: 0 success; 1 a check of the self-test failed, or a server is not ready; 2 every other failure.

use std::io::Write;
use std::process::ExitCode;

use diag::Diagnostic;
use diag::render::{self, Style};

/// Exit code of every failure that is not the result of a check.
pub const FAILURE: u8 = 2;

/// Result of a command.
pub type CommandResult = Result<ExitCode, Diagnostic>;

/// How a failed command reports its diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorFormat {
    /// Text on stderr.
    Text,
    /// A JSON document on stdout, for commands whose output is JSON.
    Json,
    /// The same document on one line of stderr, for a server whose log is JSON.
    JsonLine,
}

/// Prints the diagnostic. A failed write is ignored: the exit code remains.
pub fn report(diagnostic: &Diagnostic, format: ErrorFormat) -> ExitCode {
    let diagnostics = std::slice::from_ref(diagnostic);
    let _ = match format {
        ErrorFormat::Text => {
            std::io::stderr().write_all(render::human(diagnostics, Style::default()).as_bytes())
        }
        ErrorFormat::Json => std::io::stdout().write_all(render::json(diagnostics).as_bytes()),
        ErrorFormat::JsonLine => writeln!(std::io::stderr(), "{}", one_line(&render::json(diagnostics))),
    };
    ExitCode::from(FAILURE)
}

fn one_line(document: &str) -> String {
    serde_json::from_str::<serde_json::Value>(document)
        .map_or_else(|_| document.to_owned(), |value| value.to_string())
}
