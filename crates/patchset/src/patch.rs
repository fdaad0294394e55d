//! Our patches: a header that says why, then a unified diff, applied with zero fuzz and zero offset.
//!
//! Own code, because the tools guess: `patch` moves hunks and drops context, and both end in a patch that sits where
//! nobody looked. Here a patch fits exactly, or it is refused with one of three reasons that ask for different work:
//! it is applied already, its place moved, or the text that it changes is gone. Only changes of existing files; it opens no
//! file ([`super::guard`] and [`super::prepare`] do).

pub mod fit;

use std::fmt;

use anyhow::{Context, Result, bail, ensure};

/// Keys that the header of each patch must fill, and what each is for.
pub const HEADER_KEYS: [(&str, &str); 4] = [
    ("Why", "what goes wrong without the patch"),
    ("Upstream", "a link to where upstream has it, or why it has not"),
    ("Since", "the version of the library that it was first written for"),
    ("Guards", "the file beside it that pins and proves it"),
];

/// A parsed patch file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    pub header: Vec<(String, String)>,
    pub files: Vec<FileDiff>,
}

/// The hunks of one file, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiff {
    pub path: String,
    /// As it stands in the patch file, from `--- a/` on.
    pub text: Vec<u8>,
    hunks: Vec<Hunk>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Hunk {
    /// Index of its first line, from 0, before and after the patch.
    old_start: usize,
    new_start: usize,
    /// Lines with their line ends, as they stand before and after.
    old: Vec<Vec<u8>>,
    new: Vec<Vec<u8>>,
    /// Which lines of `new` the patch adds; the others are context.
    added: Vec<usize>,
}

/// Why a diff was not applied. Line numbers count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The file looks as if the patch were in it.
    AlreadyApplied,
    /// The text to change exists once, but on another line.
    Elsewhere { hunk: usize, expected_line: usize, found_line: usize },
    /// The text to change is not there (or several times, none of them in place).
    DoesNotApply { hunk: usize, line: usize, expected: String, found: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyApplied => write!(
                f,
                "is applied already [already-applied]\nhint: upstream may have taken it: compare, then remove the patch; \
                 or the source tree is not pristine: fetch it again"
            ),
            Self::Elsewhere { hunk, expected_line, found_line } => write!(
                f,
                "applies elsewhere: hunk {hunk} is for line {expected_line}, its text stands at line {found_line} [elsewhere]\n\
                 hint: the source moved under the patch; read the new surroundings, then make the diff and its digests anew"
            ),
            Self::DoesNotApply { hunk, line, expected, found } => write!(
                f,
                "does not apply: hunk {hunk}, line {line}: expected `{expected}`, found `{found}` [does-not-apply]\n\
                 hint: what the patch changes was rewritten; check whether the defect still exists, then write it anew"
            ),
        }
    }
}

impl Patch {
    /// Strict: a key of the header that is missing, a count that is wrong or text that belongs nowhere is an error.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let mut lines = Lines { rest: text, number: 0 };
        let header = parse_header(&mut lines)?;
        for (key, what) in HEADER_KEYS {
            let values: Vec<&str> =
                header.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect();
            let hint = format!("hint: write `{key}: …`: {what} [header]");
            match values[..] {
                [value] => ensure!(!value.is_empty(), "`{key}:` in the header is empty\n{hint}"),
                [] => bail!("the header has no `{key}:`\n{hint}"),
                _ => bail!("the header has `{key}:` {} times\n{hint}", values.len()),
            }
        }
        if let Some((key, _)) =
            header.iter().find(|(key, _)| HEADER_KEYS.iter().all(|(known, _)| known != key))
        {
            let known = HEADER_KEYS.map(|(key, _)| key).join(", ");
            bail!("the header has `{key}:`, which nothing reads; expected {known} [header]");
        }
        let mut files: Vec<FileDiff> = Vec::new();
        while !lines.rest.is_empty() {
            let file = parse_file(&mut lines)?;
            ensure!(files.iter().all(|other| other.path != file.path), "`{}` is there twice", file.path);
            files.push(file);
        }
        ensure!(!files.is_empty(), "no diff after the header");
        Ok(Self { header, files })
    }

    /// The bytes of a patch file before its first diff, to be kept when the diffs are made anew.
    pub fn header_bytes(text: &[u8]) -> &[u8] {
        let mut at = 0;
        for line in text.split_inclusive(|byte| *byte == b'\n').take_while(|line| !line.starts_with(b"--- "))
        {
            at += line.len();
        }
        &text[..at]
    }

    /// One value of the header.
    pub fn header_value(&self, key: &str) -> Option<&str> {
        self.header.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

impl FileDiff {
    /// The file with the patch in it, or why not.
    pub fn apply(&self, before: &[u8]) -> std::result::Result<Vec<u8>, Refusal> {
        let lines = split_lines(before);
        let mut after: Vec<&[u8]> = Vec::with_capacity(lines.len());
        let mut taken = 0;
        for (index, hunk) in self.hunks.iter().enumerate() {
            if !stands_at(&lines, hunk.old_start, &hunk.old) {
                return Err(self.why_not(&lines, index));
            }
            after.extend(&lines[taken..hunk.old_start]);
            after.extend(hunk.new.iter().map(Vec::as_slice));
            taken = hunk.old_start + hunk.old.len();
        }
        after.extend(&lines[taken..]);
        Ok(after.concat())
    }

    /// Numbers, from 1, of the lines that the patch adds, in the file as it is afterwards.
    pub fn added_lines(&self) -> Vec<usize> {
        let line = |hunk: &Hunk, index: &usize| hunk.new_start + index + 1;
        self.hunks.iter().flat_map(|hunk| hunk.added.iter().map(move |index| line(hunk, index))).collect()
    }

    /// Whether every hunk's result stands where the patch would have left it.
    pub fn is_applied(&self, text: &[u8]) -> bool {
        let lines = split_lines(text);
        self.hunks.iter().all(|hunk| stands_at(&lines, hunk.new_start, &hunk.new))
    }

    fn why_not(&self, lines: &[&[u8]], failed: usize) -> Refusal {
        // Text that both sides of a hunk share (its context) can be in place twice over, so all hunks must agree.
        if self.hunks.iter().all(|hunk| stands_at(lines, hunk.new_start, &hunk.new)) {
            return Refusal::AlreadyApplied;
        }
        let hunk = &self.hunks[failed];
        let places = |wanted: &[Vec<u8>]| -> Vec<usize> {
            (0..lines.len()).filter(|start| stands_at(lines, *start, wanted)).collect()
        };
        if let [place] = places(&hunk.old)[..] {
            return Refusal::Elsewhere {
                hunk: failed + 1,
                expected_line: hunk.old_start + 1,
                found_line: place + 1,
            };
        }
        if self.hunks.iter().all(|hunk| places(&hunk.new).len() == 1) {
            return Refusal::AlreadyApplied; // and something else moved it
        }
        let show = |line: &[u8]| String::from_utf8_lossy(line).trim_end().to_owned();
        let mismatch = (0..hunk.old.len())
            .find(|i| lines.get(hunk.old_start + i).is_none_or(|line| *line != hunk.old[*i].as_slice()))
            .unwrap_or(0);
        Refusal::DoesNotApply {
            hunk: failed + 1,
            line: hunk.old_start + mismatch + 1,
            expected: hunk.old.get(mismatch).map(|line| show(line)).unwrap_or_default(),
            found: lines.get(hunk.old_start + mismatch).map_or("end of file".to_owned(), |line| show(line)),
        }
    }
}

/// With line ends kept: a last line without one differs from the same line with one.
fn split_lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

fn stands_at(lines: &[&[u8]], start: usize, wanted: &[Vec<u8>]) -> bool {
    lines
        .get(start..start.saturating_add(wanted.len()))
        .is_some_and(|found| found.iter().zip(wanted).all(|(line, wanted)| *line == wanted.as_slice()))
}

/// The lines of the patch file, with the number of the current one for messages.
struct Lines<'text> {
    rest: &'text [u8],
    number: usize,
}

impl<'text> Lines<'text> {
    /// The next line with its line end, not taken yet.
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
    fn take_after(&mut self, prefix: &str) -> Result<String> {
        let line = self.take().map(|line| String::from_utf8_lossy(line).trim_end().to_owned());
        let found = line.as_deref().unwrap_or("end of file");
        match found.strip_prefix(prefix) {
            Some(text) => Ok(text.to_owned()),
            None => bail!("line {}: expected `{prefix}…`, found `{found}`", self.number),
        }
    }
}

/// `Key: value` lines, continued by lines that start with a space, up to the first `--- `.
fn parse_header(lines: &mut Lines<'_>) -> Result<Vec<(String, String)>> {
    let mut header: Vec<(String, String)> = Vec::new();
    while let Some(line) = lines.peek().filter(|line| !line.starts_with(b"--- ")) {
        lines.take();
        let number = lines.number;
        let text = std::str::from_utf8(line).with_context(|| format!("line {number}: not UTF-8"))?.trim_end();
        if text.is_empty() {
            continue;
        }
        match (text.strip_prefix(' '), header.last_mut()) {
            (Some(more), Some((_, value))) => {
                value.push(' ');
                value.push_str(more.trim());
            }
            (Some(_), None) => bail!("line {number}: a continued line, but no key before it"),
            (None, _) => {
                let (key, value) = text
                    .split_once(':')
                    .with_context(|| format!("line {number}: expected `Key: value`, found `{text}`"))?;
                header.push((key.to_owned(), value.trim().to_owned()));
            }
        }
    }
    Ok(header)
}

fn parse_file(lines: &mut Lines<'_>) -> Result<FileDiff> {
    let whole = lines.rest;
    let path = lines.take_after("--- a/")?;
    let new_path = lines.take_after("+++ b/")?;
    ensure!(
        path == new_path,
        "line {}: `{path}` would become `{new_path}`; a patch changes files in place",
        lines.number
    );
    let mut hunks: Vec<Hunk> = Vec::new();
    while lines.peek().is_some_and(|line| line.starts_with(b"@@ ")) {
        let hunk = parse_hunk(lines)?;
        if let Some(last) = hunks.last() {
            ensure!(
                hunk.old_start >= last.old_start + last.old.len(),
                "line {}: hunks of `{path}` overlap or are out of order",
                lines.number
            );
        }
        hunks.push(hunk);
    }
    ensure!(!hunks.is_empty(), "line {}: no hunk for `{path}`", lines.number);
    let text = whole[..whole.len() - lines.rest.len()].to_vec();
    Ok(FileDiff { path, text, hunks })
}

fn parse_hunk(lines: &mut Lines<'_>) -> Result<Hunk> {
    let head = lines.take_after("@@ ")?;
    let number = lines.number;
    let ranges = || -> Option<((usize, usize), (usize, usize))> {
        let (ranges, _) = head.split_once(" @@")?;
        let (old, new) = ranges.split_once(' ')?;
        Some((parse_range(old.strip_prefix('-')?)?, parse_range(new.strip_prefix('+')?)?))
    };
    let ((old_start, old_count), (new_start, new_count)) =
        ranges().with_context(|| format!("line {number}: expected `@@ -A,B +C,D @@`, found `@@ {head}`"))?;
    let (mut old, mut new): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (Vec::new(), Vec::new());
    let (mut changes, mut added) = (false, Vec::new());
    while old.len() < old_count || new.len() < new_count {
        let Some(line) = lines.take() else { bail!("the hunk of line {number} is cut short") };
        let (mark, text) = line.split_first().with_context(|| format!("line {}: empty", lines.number))?;
        let mut text = text.to_vec();
        if lines.peek().is_some_and(|next| next.starts_with(b"\\ ")) {
            lines.take();
            ensure!(text.pop() == Some(b'\n'), "line {}: no line end to take away", lines.number);
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
            // a bare line end is a context line whose trailing space an editor removed: nothing is guessed
            _ => bail!("line {}: expected ` `, `-` or `+` at its start", lines.number),
        }
        changes |= *mark != b' ';
    }
    ensure!(
        old.len() == old_count && new.len() == new_count,
        "the hunk of line {number} holds {} old and {} new lines, its head says {old_count} and {new_count}",
        old.len(),
        new.len()
    );
    ensure!(changes, "the hunk of line {number} changes nothing");
    ensure!(old_count > 0, "the hunk of line {number} has no context: its place could not be checked");
    let index =
        |start: usize| start.checked_sub(1).with_context(|| format!("line {number}: lines count from 1"));
    Ok(Hunk { old_start: index(old_start)?, new_start: index(new_start)?, old, new, added })
}

/// `12,5` or `12`, which means `12,1`.
fn parse_range(text: &str) -> Option<(usize, usize)> {
    match text.split_once(',') {
        Some((start, count)) => Some((start.parse().ok()?, count.parse().ok()?)),
        None => Some((text.parse().ok()?, 1)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub const HEADER: &str =
        "Why: a test,\n on two lines\nUpstream: none\nSince: 1.0\nGuards: x.guard.toml\n\n";
    pub const BEFORE: &str = "one\ntwo\nthree\nfour\nfive\nsix\n";
    pub const AFTER: &str = "one\nTWO\nthree\nfour\nfive\nsix\nseven\n";
    pub const DIFF: &str = "--- a/f.c\n+++ b/f.c\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n@@ -5,2 +5,3 @@ text\n five\n six\n+seven\n";

    pub fn parse(diff: &str) -> Result<Patch> {
        Patch::parse(format!("{HEADER}{diff}").as_bytes())
    }

    fn apply(before: &str) -> std::result::Result<String, Refusal> {
        parse(DIFF).unwrap().files[0].apply(before.as_bytes()).map(|after| String::from_utf8(after).unwrap())
    }

    #[test]
    fn applies_exactly() {
        let patch = parse(DIFF).unwrap();
        assert_eq!(patch.header_value("Why"), Some("a test, on two lines"));
        assert_eq!(apply(BEFORE).unwrap(), AFTER);
        assert!(patch.files[0].is_applied(AFTER.as_bytes()));
        assert!(!patch.files[0].is_applied(BEFORE.as_bytes()));
    }

    #[test]
    fn applied_already_is_told_apart() {
        assert_eq!(apply(AFTER), Err(Refusal::AlreadyApplied));
        assert_eq!(apply(&format!("new first line\n{AFTER}")), Err(Refusal::AlreadyApplied));
    }

    #[test]
    fn a_moved_anchor_is_named_by_its_new_line() {
        assert_eq!(
            apply(&format!("new first line\nand another\n{BEFORE}")),
            Err(Refusal::Elsewhere { hunk: 1, expected_line: 1, found_line: 3 })
        );
        assert_eq!(
            apply("one\ntwo\nthree\nfour\nnew\nfive\nsix\n"),
            Err(Refusal::Elsewhere { hunk: 2, expected_line: 5, found_line: 6 })
        );
    }

    #[test]
    fn changed_context_is_refused() {
        // `patch` would take this with fuzz 1
        let refusal = apply("one\ntwo\nTHREE\nfour\nfive\nsix\n").unwrap_err();
        assert_eq!(
            refusal,
            Refusal::DoesNotApply { hunk: 1, line: 3, expected: "three".into(), found: "THREE".into() }
        );
        assert!(refusal.to_string().contains("hint:"));
        assert!(
            matches!(apply("one\ntwo\n"), Err(Refusal::DoesNotApply { found, .. }) if found == "end of file")
        );
    }

    #[test]
    fn two_places_are_no_place() {
        assert!(matches!(
            apply(&format!("new\n{BEFORE}{BEFORE}")),
            Err(Refusal::DoesNotApply { hunk: 1, .. })
        ));
    }

    #[test]
    fn the_missing_last_line_end_counts() {
        let diff = "--- a/f.c\n+++ b/f.c\n@@ -1,1 +1,1 @@\n-end\n\\ No newline at end of file\n+end\n";
        let patch = parse(diff).unwrap();
        assert_eq!(patch.files[0].apply(b"end").unwrap(), b"end\n");
        assert_eq!(patch.files[0].apply(b"end\n"), Err(Refusal::AlreadyApplied));
    }

    #[test]
    fn a_missing_field_of_the_header_is_named() {
        for (key, what) in HEADER_KEYS {
            let without: String = HEADER
                .replace(",\n on", ", on")
                .lines()
                .filter(|line| !line.starts_with(key))
                .fold(String::new(), |text, line| text + line + "\n");
            let told = Patch::parse(format!("{without}{DIFF}").as_bytes()).unwrap_err().to_string();
            assert!(told.contains(&format!("no `{key}:`")) && told.contains(what), "{told}");
        }
        assert_eq!(Patch::header_bytes(format!("{HEADER}{DIFF}").as_bytes()), HEADER.as_bytes());
    }

    #[test]
    fn malformed_patches_are_refused() {
        for (what, bad) in [
            ("no header", DIFF.to_owned()),
            ("no reason", format!("{}{DIFF}", HEADER.replace("Why: a test,\n on two lines\n", ""))),
            ("empty reason", format!("{}{DIFF}", HEADER.replace("Why: a test,\n on two lines\n", "Why:\n"))),
            ("unknown key", format!("Whence: x\n{HEADER}{DIFF}")),
            ("key twice", format!("Since: 2.0\n{HEADER}{DIFF}")),
            ("no diff", HEADER.to_owned()),
            ("renamed", format!("{HEADER}{}", DIFF.replace("b/f.c", "b/g.c"))),
            ("wrong count", format!("{HEADER}{}", DIFF.replace("-1,3 +1,3", "-1,4 +1,3"))),
            ("cut short", format!("{HEADER}{}", &DIFF[..DIFF.len() - 7])),
            ("trailing text", format!("{HEADER}{DIFF}and more\n")),
            ("bare line end", format!("{HEADER}{}", DIFF.replace(" five\n", "\n"))),
            ("file twice", format!("{HEADER}{DIFF}{DIFF}")),
            ("nothing changed", format!("{HEADER}--- a/f.c\n+++ b/f.c\n@@ -1,1 +1,1 @@\n one\n")),
            ("no context", format!("{HEADER}--- a/f.c\n+++ b/f.c\n@@ -0,0 +1,1 @@\n+one\n")),
            ("out of order", format!("{HEADER}{}", DIFF.replace("-5,2 +5,3", "-2,2 +2,3"))),
        ] {
            assert!(Patch::parse(bad.as_bytes()).is_err(), "{what} was accepted");
        }
    }
}
