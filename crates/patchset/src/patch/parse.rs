//! Strict parser of patch files.

use diag::{Diagnostic, Diagnostics, Location};

use super::model::{FileDiff, HEADER_KEYS, Hunk, Patch};
use crate::codes::{PATCH_HEADER, PATCH_SYNTAX};

impl Patch {
    /// Parses a patch file. All problems of the header are reported together; a malformed diff ends the parse.
    pub fn parse(text: &[u8]) -> Result<Self, Diagnostics> {
        let mut lines = Lines { rest: text, number: 0 };
        let header = parse_header(&mut lines)?;
        let mut problems: Diagnostics = header_problems(&header).into_iter().collect();
        let mut files: Vec<FileDiff> = Vec::new();
        while !lines.rest.is_empty() {
            match parse_file(&mut lines) {
                Ok(file) if files.iter().any(|other| other.path == file.path) => {
                    problems.push(lines.problem("a file is changed by two diffs").found(&file.path));
                }
                Ok(file) => files.push(file),
                Err(problem) => {
                    problems.push(problem);
                    return Err(problems);
                }
            }
        }
        if files.is_empty() {
            problems.push(Diagnostic::new(&PATCH_SYNTAX, "no diff after the header"));
        }
        if problems.0.is_empty() { Ok(Self { header, files }) } else { Err(problems) }
    }
}

fn header_problems(header: &[(String, String)]) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    for (key, purpose) in HEADER_KEYS {
        let values: Vec<&str> =
            header.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect();
        let message = match values[..] {
            [value] if !value.is_empty() => continue,
            [_] => format!("`{key}:` in the header is empty"),
            [] => format!("the header has no `{key}:`"),
            _ => format!("the header has `{key}:` {} times", values.len()),
        };
        problems.push(
            Diagnostic::new(&PATCH_HEADER, message)
                .expected(format!("`{key}: …` once"))
                .hint(format!("write `{key}: …`: {purpose}")),
        );
    }
    let known = HEADER_KEYS.map(|(key, _)| key);
    for (key, _) in header.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
        problems.push(
            Diagnostic::new(&PATCH_HEADER, "the header has an unknown key")
                .expected(known.join(", "))
                .found(format!("`{key}:`")),
        );
    }
    problems
}

/// The lines of a patch file, with the number of the current one for messages.
struct Lines<'text> {
    rest: &'text [u8],
    number: usize,
}

impl<'text> Lines<'text> {
    fn problem(&self, message: impl Into<String>) -> Diagnostic {
        problem_at(self.number, message)
    }

    /// The next line with its line end, without taking it.
    fn peek(&self) -> Option<&'text [u8]> {
        self.rest.split_inclusive(|byte| *byte == b'\n').next()
    }

    fn take(&mut self) -> Option<&'text [u8]> {
        let line = self.peek()?;
        self.rest = &self.rest[line.len()..];
        self.number += 1;
        Some(line)
    }

    /// The text of the next line after `prefix`.
    fn take_after(&mut self, prefix: &str) -> Result<String, Diagnostic> {
        let line = self.take().map(|line| String::from_utf8_lossy(line).trim_end().to_owned());
        let found = line.as_deref().unwrap_or("end of file");
        found.strip_prefix(prefix).map(str::to_owned).ok_or_else(|| {
            self.problem("a line of a diff is malformed")
                .expected(format!("`{prefix}…`"))
                .found(format!("`{found}`"))
        })
    }
}

fn problem_at(line: usize, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(&PATCH_SYNTAX, message).at(Location { line: line.max(1), column: 1 })
}

/// `Key: value` lines, continued by lines that start with a space, up to the first `--- `.
fn parse_header(lines: &mut Lines<'_>) -> Result<Vec<(String, String)>, Diagnostic> {
    let mut header: Vec<(String, String)> = Vec::new();
    while let Some(line) = lines.peek().filter(|line| !line.starts_with(b"--- ")) {
        lines.take();
        let text = std::str::from_utf8(line).map_err(|_| lines.problem("a line is not UTF-8"))?.trim_end();
        if text.is_empty() {
            continue;
        }
        match (text.strip_prefix(' '), header.last_mut()) {
            (Some(more), Some((_, value))) => {
                value.push(' ');
                value.push_str(more.trim());
            }
            (Some(_), None) => return Err(lines.problem("a continuation line has no key before it")),
            (None, _) => {
                let (key, value) = text.split_once(':').ok_or_else(|| {
                    lines
                        .problem("a line of the header is malformed")
                        .expected("Key: value")
                        .found(format!("`{text}`"))
                })?;
                header.push((key.to_owned(), value.trim().to_owned()));
            }
        }
    }
    Ok(header)
}

fn parse_file(lines: &mut Lines<'_>) -> Result<FileDiff, Diagnostic> {
    let whole = lines.rest;
    let path = lines.take_after("--- a/")?;
    let new_path = lines.take_after("+++ b/")?;
    if path != new_path {
        return Err(lines
            .problem("a diff renames a file; a patch changes files in place")
            .expected(path)
            .found(new_path));
    }
    let mut hunks: Vec<Hunk> = Vec::new();
    while lines.peek().is_some_and(|line| line.starts_with(b"@@ ")) {
        let hunk = parse_hunk(lines)?;
        if hunks.last().is_some_and(|last| hunk.old_start < last.old_start + last.old.len()) {
            return Err(lines.problem(format!("hunks of `{path}` overlap or are out of order")));
        }
        hunks.push(hunk);
    }
    if hunks.is_empty() {
        return Err(lines.problem(format!("no hunk for `{path}`")));
    }
    let text = whole[..whole.len() - lines.rest.len()].to_vec();
    Ok(FileDiff { path, text, hunks })
}

fn parse_hunk(lines: &mut Lines<'_>) -> Result<Hunk, Diagnostic> {
    let head = lines.take_after("@@ ")?;
    let number = lines.number;
    let ranges = || -> Option<((usize, usize), (usize, usize))> {
        let (ranges, _) = head.split_once(" @@")?;
        let (old, new) = ranges.split_once(' ')?;
        Some((parse_range(old.strip_prefix('-')?)?, parse_range(new.strip_prefix('+')?)?))
    };
    let ((old_start, old_count), (new_start, new_count)) = ranges().ok_or_else(|| {
        problem_at(number, "the head of a hunk is malformed")
            .expected("@@ -A,B +C,D @@")
            .found(format!("@@ {head}"))
    })?;
    let (mut old, mut new): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    let mut added = Vec::new();
    while old.len() < old_count || new.len() < new_count {
        let line = lines.take().ok_or_else(|| problem_at(number, "a hunk is truncated"))?;
        let (mark, text) = line.split_first().ok_or_else(|| lines.problem("a line is empty"))?;
        let mut text = text.to_vec();
        if lines.peek().is_some_and(|next| next.starts_with(b"\\ ")) {
            lines.take();
            if text.pop() != Some(b'\n') {
                return Err(lines.problem("`\\ No newline` follows a line without a line end"));
            }
        }
        match mark {
            b' ' => {
                old.push(text.clone());
                new.push(text);
            }
            b'-' => old.push(text),
            b'+' => {
                added.push(new.len());
                new.push(text);
            }
            // A bare line end is a context line whose trailing space an editor removed. The parser does not guess.
            _ => return Err(lines.problem("a line of a hunk is malformed").expected("` `, `-` or `+` at its start")),
        }
    }
    if (old.len(), new.len()) != (old_count, new_count) {
        return Err(problem_at(number, "a hunk does not have the line counts of its head")
            .expected(format!("{old_count} old and {new_count} new lines"))
            .found(format!("{} old and {} new lines", old.len(), new.len())));
    }
    if added.is_empty() && old.len() == new.len() {
        return Err(problem_at(number, "a hunk changes nothing"));
    }
    if old_count == 0 {
        return Err(problem_at(number, "a hunk has no context, so its place could not be checked"));
    }
    let index = |start: usize| {
        start.checked_sub(1).ok_or_else(|| problem_at(number, "a hunk starts at line 0; lines count from 1"))
    };
    Ok(Hunk { old_start: index(old_start)?, new_start: index(new_start)?, old, new, added })
}

/// `12,5` or `12`, which means `12,1`.
fn parse_range(text: &str) -> Option<(usize, usize)> {
    match text.split_once(',') {
        Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}
