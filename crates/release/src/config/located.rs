//! Places in a configuration file.

use std::ops::Range;
use std::path::{Path, PathBuf};

use diag::{Code, Diagnostic, Location};
use serde::Serialize;
use toml::Spanned;

/// A value of a file that is checked together with other files, and its place for the message of that check.
#[derive(Debug, Clone)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    file: PathBuf,
    location: Location,
}

impl<T> Located<T> {
    /// A value at a place of a file.
    pub fn new(value: T, file: impl Into<PathBuf>, location: Location) -> Self {
        Self { value, file: file.into(), location }
    }

    /// A problem of this value, with its place.
    pub fn diagnostic(&self, code: &'static Code, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, message).file(&self.file).at(self.location)
    }
}

impl<T: Serialize> Serialize for Located<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(serializer)
    }
}

/// Turns byte offsets of a text into lines and columns.
pub(super) struct SourceText<'a> {
    file: &'a Path,
    text: &'a str,
}

impl<'a> SourceText<'a> {
    /// `file` is only named in messages.
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text }
    }

    fn location(&self, offset: usize) -> Location {
        let before = self.text.get(..offset).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Location { line: before.matches('\n').count() + 1, column: before[line_start..].chars().count() + 1 }
    }

    /// A problem at a place of the text.
    pub(super) fn diagnostic(
        &self,
        code: &'static Code,
        span: &Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(code, message).file(self.file).at(self.location(span.start))
    }

    /// The value with its place.
    pub(super) fn located<T>(&self, spanned: Spanned<T>) -> Located<T> {
        let location = self.location(spanned.span().start);
        Located::new(spanned.into_inner(), self.file, location)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_start_at_one_and_count_characters() {
        let source = SourceText::new(Path::new("f"), "a = 1\né = 2\n");
        for (offset, line, column) in [(0, 1, 1), (4, 1, 5), (6, 2, 1), (9, 2, 3), (999, 3, 1)] {
            assert_eq!(source.location(offset), Location { line, column }, "offset {offset}");
        }
    }
}
