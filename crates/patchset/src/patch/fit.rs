//! How a patch lies on a text that it may not have been written for: hunk by hunk, for a report and for a person who moves
//! it to another version. A build never asks: it takes [`FileDiff::apply`], which is exact.

use super::{FileDiff, split_lines, stands_at};

/// Where one hunk stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HunkFit {
    InPlace,
    /// Its text stands once, so many lines further down.
    Moved {
        by: isize,
    },
    /// Its result stands there already.
    Applied,
    /// Neither stands; the first line that differs.
    Conflict {
        line: usize,
        expected: String,
        found: String,
    },
}

/// A file with every hunk in it that could be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fit {
    pub hunks: Vec<HunkFit>,
    pub after: Vec<u8>,
}

impl Fit {
    pub fn is_exact(&self) -> bool {
        self.hunks.iter().all(|hunk| *hunk == HunkFit::InPlace)
    }

    /// Something is there already, and nothing stands in the way.
    pub fn is_applied(&self) -> bool {
        self.hunks.iter().all(|hunk| *hunk == HunkFit::Applied)
    }

    /// Every hunk was placed.
    pub fn is_placed(&self) -> bool {
        self.hunks.iter().all(|hunk| matches!(hunk, HunkFit::InPlace | HunkFit::Moved { .. }))
    }
}

impl FileDiff {
    pub fn fit(&self, before: &[u8]) -> Fit {
        let lines = split_lines(before);
        if self.is_applied(before) && self.apply(before).is_err() {
            return Fit { hunks: vec![HunkFit::Applied; self.hunks.len()], after: before.to_vec() };
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
        Fit { hunks: fits, after: after.concat() }
    }

    /// Lines that it adds and removes.
    pub fn counts(&self) -> (usize, usize) {
        self.hunks.iter().fold((0, 0), |(added, removed), hunk| {
            (added + hunk.added.len(), removed + hunk.old.len() + hunk.added.len() - hunk.new.len())
        })
    }

    /// Lines that must stand before the patch: those that it removes, then its context.
    pub fn old_lines(&self) -> impl Iterator<Item = &[u8]> {
        let is_kept = |hunk: &super::Hunk, line: &Vec<u8>| hunk.new.contains(line);
        let removed =
            self.hunks.iter().flat_map(move |hunk| hunk.old.iter().filter(move |line| !is_kept(hunk, line)));
        let context =
            self.hunks.iter().flat_map(move |hunk| hunk.old.iter().filter(move |line| is_kept(hunk, line)));
        removed.chain(context).map(Vec::as_slice)
    }

    /// The diff of those hunks that `fit` could not place, for a person to bring in by hand.
    pub fn rejected(&self, fit: &Fit) -> String {
        let shown = |lines: &[Vec<u8>]| -> String {
            lines.iter().map(|line| format!("    {}\n", String::from_utf8_lossy(line).trim_end())).collect()
        };
        let pairs = self.hunks.iter().zip(&fit.hunks).enumerate();
        pairs
            .filter(|(_, (_, fit))| matches!(fit, HunkFit::Conflict { .. }))
            .map(|(index, (hunk, _))| {
                format!(
                    "{}: hunk {}, line {}\n  this text was not found:\n{}  it was to become:\n{}",
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

impl super::Hunk {
    /// Told where most of the hunk stands: near its own line another version has something unrelated.
    fn conflict(&self, lines: &[&[u8]], offset: isize) -> HunkFit {
        let show = |line: &[u8]| String::from_utf8_lossy(line).trim().to_owned();
        let expected_at = self.old_start.saturating_add_signed(offset);
        let matching = |start: usize| {
            let says_something = |line: &&Vec<u8>| line.iter().any(u8::is_ascii_alphanumeric);
            let pairs = self.old.iter().enumerate().filter(|(_, line)| says_something(line));
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

/// In its place; as far away as the hunk before it; or in the one place that has the text. Two places are no place.
fn place_of(lines: &[&[u8]], wanted: &[Vec<u8>], start: usize, offset: isize, taken: usize) -> Option<usize> {
    let stands = |place: &usize| *place >= taken && stands_at(lines, *place, wanted);
    let expected = [Some(start), start.checked_add_signed(offset)];
    if let Some(place) = expected.into_iter().flatten().find(stands) {
        return Some(place);
    }
    let mut places = (taken..lines.len()).filter(stands);
    let first = places.next()?;
    places.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::tests::{AFTER, BEFORE, DIFF, parse};

    fn fit(before: &str) -> (Vec<HunkFit>, String) {
        let fit = parse(DIFF).unwrap().files[0].fit(before.as_bytes());
        (fit.hunks, String::from_utf8(fit.after).unwrap())
    }

    #[test]
    fn each_hunk_says_where_it_stands() {
        assert_eq!(fit(BEFORE), (vec![HunkFit::InPlace; 2], AFTER.to_owned()));
        assert_eq!(fit(AFTER), (vec![HunkFit::Applied; 2], AFTER.to_owned()));
        let (hunks, after) = fit(&format!("0\n{BEFORE}"));
        assert_eq!(hunks, vec![HunkFit::Moved { by: 1 }; 2]);
        assert_eq!(after, format!("0\n{AFTER}"));
    }

    #[test]
    fn a_conflict_leaves_the_other_hunks_in() {
        let (hunks, after) = fit("one\nTOO\nthree\nfour\nfive\nsix\n");
        let conflict = HunkFit::Conflict { line: 2, expected: "two".into(), found: "TOO".into() };
        assert_eq!(hunks, [conflict, HunkFit::InPlace]);
        assert_eq!(after, "one\nTOO\nthree\nfour\nfive\nsix\nseven\n");
        let (hunks, _) = fit(&BEFORE.replace("two", "TWO"));
        assert_eq!(hunks, [HunkFit::Applied, HunkFit::InPlace], "half applied");
    }

    #[test]
    fn what_is_rejected_is_shown_whole() {
        let diff = &parse(DIFF).unwrap().files[0];
        let told = diff.rejected(&diff.fit(b"one\nTOO\nthree\nfour\nfive\nsix\n"));
        assert!(told.contains("f.c: hunk 1, line 1") && told.contains("    TWO\n"), "{told}");
        assert!(!told.contains("hunk 2"), "{told}");
        assert_eq!(diff.counts(), (2, 1));
    }
}
