//! Exact application of a diff: a build uses nothing else.

use diag::{Diagnostic, Location};

use super::model::{FileDiff, matches_at, split_lines};
use crate::codes::{PATCH_ALREADY_APPLIED, PATCH_DOES_NOT_APPLY, PATCH_MOVED};

/// Why a diff was not applied. Line numbers count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The file already holds the result of the patch.
    AlreadyApplied,
    /// The text to change occurs once, on another line.
    Moved {
        /// Number of the hunk, from 1.
        hunk: usize,
        /// Line that the hunk names.
        expected_line: usize,
        /// Line of its text.
        found_line: usize,
    },
    /// The text to change does not occur, or occurs several times, none of them in place.
    DoesNotApply {
        /// Number of the hunk, from 1.
        hunk: usize,
        /// First line that differs.
        line: usize,
        /// Text of that line in the patch.
        expected: String,
        /// Text of that line in the file.
        found: String,
    },
}

impl Refusal {
    /// The refusal of the diff for the file `path`.
    pub fn diagnostic(&self, path: &str) -> Diagnostic {
        let at = |line: usize| Location { line, column: 1 };
        match self {
            Self::AlreadyApplied => {
                Diagnostic::new(&PATCH_ALREADY_APPLIED, "the patch is already applied").file(path).hint(
                    "compare with upstream, which may have merged it, then remove the patch; \
                     or fetch the source again: the tree is not pristine",
                )
            }
            Self::Moved { hunk, expected_line, found_line } => {
                Diagnostic::new(&PATCH_MOVED, format!("hunk {hunk} applies on another line"))
                    .file(path)
                    .at(at(*expected_line))
                    .expected(format!("its text at line {expected_line}"))
                    .found(format!("its text at line {found_line}"))
                    .hint("the source moved; read the surrounding code, then refresh the patch and its digests")
            }
            Self::DoesNotApply { hunk, line, expected, found } => {
                Diagnostic::new(&PATCH_DOES_NOT_APPLY, format!("hunk {hunk} does not apply"))
                    .file(path)
                    .at(at(*line))
                    .expected(format!("`{expected}`"))
                    .found(format!("`{found}`"))
                    .hint("upstream rewrote the text; check whether the defect still exists, then write the patch again")
            }
        }
    }
}

impl FileDiff {
    /// The file with the patch applied, or the reason why it does not apply.
    pub fn apply(&self, before: &[u8]) -> Result<Vec<u8>, Refusal> {
        let lines = split_lines(before);
        let mut after: Vec<&[u8]> = Vec::with_capacity(lines.len());
        let mut taken = 0;
        for (index, hunk) in self.hunks.iter().enumerate() {
            if !matches_at(&lines, hunk.old_start, &hunk.old) {
                return Err(self.refusal(&lines, index));
            }
            after.extend(&lines[taken..hunk.old_start]);
            after.extend(hunk.new.iter().map(Vec::as_slice));
            taken = hunk.old_start + hunk.old.len();
        }
        after.extend(&lines[taken..]);
        Ok(after.concat())
    }

    /// Whether the result of every hunk is where the patch would have put it.
    pub fn is_applied(&self, text: &[u8]) -> bool {
        let lines = split_lines(text);
        self.hunks.iter().all(|hunk| matches_at(&lines, hunk.new_start, &hunk.new))
    }

    fn refusal(&self, lines: &[&[u8]], failed: usize) -> Refusal {
        // Context, which both sides of a hunk share, can be in place twice over, so all hunks must agree.
        if self.hunks.iter().all(|hunk| matches_at(lines, hunk.new_start, &hunk.new)) {
            return Refusal::AlreadyApplied;
        }
        let hunk = &self.hunks[failed];
        let places = |wanted: &[Vec<u8>]| -> Vec<usize> {
            (0..lines.len()).filter(|start| matches_at(lines, *start, wanted)).collect()
        };
        if let [place] = places(&hunk.old)[..] {
            return Refusal::Moved {
                hunk: failed + 1,
                expected_line: hunk.old_start + 1,
                found_line: place + 1,
            };
        }
        if self.hunks.iter().all(|hunk| places(&hunk.new).len() == 1) {
            return Refusal::AlreadyApplied; // and other changes moved it
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
