//! TOML files of a vendor folder as values, with the place of each error.

use std::fs;
use std::path::Path;

use diag::{Code, Diagnostic, Diagnostics, Location};
use serde::de::DeserializeOwned;

/// Parses `text`; an error has the code `code` and the line of the mistake.
pub(crate) fn parse<T: DeserializeOwned>(text: &str, code: &'static Code) -> Result<T, Diagnostic> {
    toml::from_str(text).map_err(|error| {
        let diagnostic = Diagnostic::new(code, "invalid TOML, or a key is unknown or missing").found(error.message());
        match error.span() {
            Some(span) => diagnostic.at(location(text, span.start)),
            None => diagnostic,
        }
    })
}

/// Reads a file; an I/O error has the code `code`.
pub(crate) fn read(path: &Path, code: &'static Code) -> Result<String, Diagnostic> {
    fs::read_to_string(path)
        .map_err(|error| Diagnostic::new(code, "a file cannot be read").file(path).cause(error))
}

/// Names the file in every diagnostic that names none.
pub(crate) fn in_file(path: &Path, diagnostics: Diagnostics) -> Diagnostics {
    let named = |diagnostic: Diagnostic| match diagnostic.fields().subject.file {
        Some(_) => diagnostic,
        None => diagnostic.file(path),
    };
    diagnostics.0.into_iter().map(named).collect()
}

fn location(text: &str, at: usize) -> Location {
    let before = &text[..at.min(text.len())];
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Location { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
}
