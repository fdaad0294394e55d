//! The diagnostic codes of the server, and the conversion of an error with its causes into a diagnostic.

mod table;

use std::error::Error;

use diag::{Code, Diagnostic};

pub use table::*;

/// The diagnostic codes that this program prints: its own, those of the engine, and the shared ones.
pub fn all() -> impl Iterator<Item = &'static Code> {
    CODES.iter().chain(engine::codes::CODES).chain(diag::CODES).copied()
}

/// The text of the section `fix`, for the hint of a diagnostic.
pub fn fix(code: &Code) -> &'static str {
    code.sections.iter().find(|(label, _)| *label == "fix").map_or("", |(_, text)| text)
}

/// A diagnostic for `error`: its text is the message, its sources are the causes.
pub fn from_error(code: &'static Code, error: &dyn Error) -> Diagnostic {
    with_causes(Diagnostic::new(code, error.to_string()), error.source(), &error.to_string())
}

/// A diagnostic with a message of its own; `error` and its sources are the causes.
pub fn caused(code: &'static Code, message: impl Into<String>, error: &dyn Error) -> Diagnostic {
    with_causes(Diagnostic::new(code, message), Some(error), "")
}

/// An error whose text quotes its source already contains that cause; it is not repeated.
fn with_causes(mut diagnostic: Diagnostic, error: Option<&dyn Error>, quoted_by: &str) -> Diagnostic {
    let mut printed = quoted_by.to_owned();
    let mut next = error;
    while let Some(cause) = next {
        let text = cause.to_string();
        if !printed.contains(&text) {
            diagnostic = diagnostic.cause(&text);
            printed = text;
        }
        next = cause.source();
    }
    diagnostic
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Quotes its source in its own text.
    #[derive(Debug)]
    struct Outer(std::fmt::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "outer: {}", self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn causes_follow_the_message_and_are_not_repeated() {
        let error = Outer(std::fmt::Error);
        let text = from_error(&MODEL_UNUSABLE, &error).to_string();
        assert_eq!(text, error.to_string());
        let text = caused(&MODEL_UNUSABLE, "cannot open `m`", &error).to_string();
        insta::assert_snapshot!(text, @r"
        cannot open `m`
          because:  outer: an error occurred when formatting an argument
        ");
    }

    #[test]
    fn every_code_is_unique_and_ends_in_a_fix() {
        let ids: std::collections::HashSet<&str> = all().map(|code| code.id).collect();
        assert_eq!(ids.len(), all().count());
        for code in all() {
            assert_eq!(code.sections.last().map(|(label, _)| *label), Some("fix"), "{}", code.id);
        }
    }

    #[test]
    fn the_documentation_has_every_code() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/server.md");
        let table = diag::markdown(CODES.iter().chain(engine::codes::CODES).copied());
        assert!(
            std::fs::read_to_string(page).unwrap().contains(&table),
            "docs/server.md lacks this table:\n{table}"
        );
    }
}
