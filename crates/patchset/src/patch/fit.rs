//! How a diff fits a text that it may not have been written for, hunk by hunk: for reports, and to move a patch to another
//! version. A build uses [`FileDiff::apply`], which is exact.

use super::model::{FileDiff, Hunk, matches_at, split_lines};

/// How one hunk fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HunkFit {
    /// Its text is on the line that the hunk names.
    InPlace,
    /// Its text occurs once, on another line.
    Moved {
        /// Lines further down; negative for further up.
        by: isize,
    },
    /// The file already holds its result.
    Applied,
    /// The file holds neither its text nor its result. The first line that differs:
    Conflict {
        /// Number, from 1.
        line: usize,
        /// Text in the patch.
        expected: String,
        /// Text in the file.
        found: String,
    },
}

/// A file with every hunk applied that has a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiffFit {
    /// One for each hunk, in order.
    pub hunks: Vec<HunkFit>,
    /// The text with the placed hunks.
    pub after: Vec<u8>,
}

impl DiffFit {
    /// The file already holds the result of every hunk.
    pub fn is_applied(&self) -> bool {
        self.hunks.iter().all(|hunk| *hunk == HunkFit::Applied)
    }

    /// Every hunk has a place.
    pub fn is_placed(&self) -> bool {
        self.hunks.iter().all(|hunk| matches!(hunk, HunkFit::InPlace | HunkFit::Moved { .. }))
    }
}

impl FileDiff {
    /// Applies every hunk that has a place.
    pub fn fit(&self, before: &[u8]) -> DiffFit {
        let lines = split_lines(before);
        if self.is_applied(before) && self.apply(before).is_err() {
            return DiffFit { hunks: vec![HunkFit::Applied; self.hunks.len()], after: before.to_vec() };
        }
        let (mut fits, mut after) = (Vec::new(), Vec::with_capacity(lines.len()));
        let (mut taken, mut offset) = (0, 0);
        for hunk in &self.hunks {
            let place = place_of(&lines, &hunk.old, hunk.old_start, offset, taken);
            let Some(place) = place else {
                let result = place_of(&lines, &hunk.new, hunk.new_start, offset, taken);
                fits.push(if result.is_some() { HunkFit::Applied } else { hunk.conflict(&lines, offset) });
                continue;
            };
            offset = place.cast_signed() - hunk.old_start.cast_signed();
            fits.push(if offset == 0 { HunkFit::InPlace } else { HunkFit::Moved { by: offset } });
            after.extend(&lines[taken..place]);
            after.extend(hunk.new.iter().map(Vec::as_slice));
            taken = place + hunk.old.len();
        }
        after.extend(&lines[taken..]);
        DiffFit { hunks: fits, after: after.concat() }
    }

    /// The hunks without a place, as text, to be applied by hand.
    pub fn rejected(&self, fit: &DiffFit) -> String {
        let shown = |lines: &[Vec<u8>]| -> String {
            lines.iter().map(|line| format!("    {}\n", String::from_utf8_lossy(line).trim_end())).collect()
        };
        let pairs = self.hunks.iter().zip(&fit.hunks).enumerate();
        pairs
            .filter(|(_, (_, fit))| matches!(fit, HunkFit::Conflict { .. }))
            .map(|(index, (hunk, _))| {
                format!(
                    "{}: hunk {}, line {}\n  this text was not found:\n{}  the patch changes it to:\n{}",
                    self.path,
                    index + 1,
                    hunk.old_start + 1,
                    shown(&hunk.old),
                    shown(&hunk.new)
                )
            })
            .collect()
    }
}

impl Hunk {
    /// The conflict at the place where most lines of the hunk match: its own line may hold unrelated text in another version.
    fn conflict(&self, lines: &[&[u8]], offset: isize) -> HunkFit {
        let show = |line: &[u8]| String::from_utf8_lossy(line).trim().to_owned();
        let expected_at = self.old_start.saturating_add_signed(offset);
        let matching = |start: usize| {
            let is_distinctive = |line: &&Vec<u8>| line.iter().any(u8::is_ascii_alphanumeric);
            let pairs = self.old.iter().enumerate().filter(|(_, line)| is_distinctive(line));
            pairs.filter(|(i, line)| lines.get(start + i) == Some(&line.as_slice())).count()
        };
        let best = (0..lines.len().max(1))
            .max_by_key(|start| (matching(*start), std::cmp::Reverse(start.abs_diff(expected_at))))
            .unwrap_or(expected_at);
        let differs = |i: &usize| lines.get(best + i).is_none_or(|line| *line != self.old[*i]);
        let at = (0..self.old.len()).find(differs).unwrap_or(0);
        HunkFit::Conflict {
            line: best + at + 1,
            expected: self.old.get(at).map(|line| show(line)).unwrap_or_default(),
            found: lines.get(best + at).map_or("end of file".into(), |line| show(line)),
        }
    }
}

/// The line of the hunk; else the same offset as the hunk before it; else the only place of the text. Two places are ambiguous,
/// so neither counts.
fn place_of(lines: &[&[u8]], wanted: &[Vec<u8>], start: usize, offset: isize, taken: usize) -> Option<usize> {
    let matches = |place: &usize| *place >= taken && matches_at(lines, *place, wanted);
    let expected = [Some(start), start.checked_add_signed(offset)];
    if let Some(place) = expected.into_iter().flatten().find(matches) {
        return Some(place);
    }
    let mut places = (taken..lines.len()).filter(matches);
    let first = places.next()?;
    places.next().is_none().then_some(first)
}

