//! The types of a parsed patch.

/// Keys that the header of each patch must fill, and the purpose of each.
pub const HEADER_KEYS: [(&str, &str); 4] = [
    ("Why", "the defect without the patch"),
    ("Upstream", "a link to the upstream change, or the reason why there is none"),
    ("Since", "the version of the library that the patch was first written for"),
    ("Guards", "the guard file beside the patch"),
];

/// A parsed patch file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// Keys and values, in the order of the file.
    pub header: Vec<(String, String)>,
    /// One diff for each changed file, in the order of the file.
    pub files: Vec<FileDiff>,
}

/// The hunks of one file, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileDiff {
    /// Relative to the top of the source tree.
    pub path: String,
    /// The text of the diff in the patch file, from `--- a/` on.
    pub text: Vec<u8>,
    pub(crate) hunks: Vec<Hunk>,
}

/// One hunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hunk {
    /// Index of the first line before the patch, from 0.
    pub old_start: usize,
    /// Index of the first line after the patch, from 0.
    pub new_start: usize,
    /// Lines before the patch, with their line ends.
    pub old: Vec<Vec<u8>>,
    /// Lines after the patch, with their line ends.
    pub new: Vec<Vec<u8>>,
    /// Indices into `new` of the lines that the patch adds; the others are context.
    pub added: Vec<usize>,
}

impl Patch {
    /// The bytes of a patch file before its first diff; a refresh keeps them.
    pub fn header_bytes(text: &[u8]) -> &[u8] {
        let lines = text.split_inclusive(|byte| *byte == b'\n');
        let length = lines.take_while(|line| !line.starts_with(b"--- ")).map(<[u8]>::len).sum();
        &text[..length]
    }

    /// One value of the header.
    pub fn header_value(&self, key: &str) -> Option<&str> {
        self.header.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

impl FileDiff {
    /// Numbers, from 1, of the lines that the patch adds, in the file after the patch.
    pub fn added_lines(&self) -> Vec<usize> {
        let line = |hunk: &Hunk, index: &usize| hunk.new_start + index + 1;
        self.hunks.iter().flat_map(|hunk| hunk.added.iter().map(move |index| line(hunk, index))).collect()
    }

    /// Numbers of lines that the diff adds and removes.
    pub fn counts(&self) -> (usize, usize) {
        self.hunks.iter().fold((0, 0), |(added, removed), hunk| {
            (added + hunk.added.len(), removed + hunk.old.len() + hunk.added.len() - hunk.new.len())
        })
    }

    /// Lines that must be in the file before the patch: the removed ones, then the context.
    pub fn old_lines(&self) -> impl Iterator<Item = &[u8]> {
        let is_kept = |hunk: &Hunk, line: &Vec<u8>| hunk.new.contains(line);
        let removed =
            self.hunks.iter().flat_map(move |hunk| hunk.old.iter().filter(move |line| !is_kept(hunk, line)));
        let context =
            self.hunks.iter().flat_map(move |hunk| hunk.old.iter().filter(move |line| is_kept(hunk, line)));
        removed.chain(context).map(Vec::as_slice)
    }
}

/// Lines with their line ends: a last line without one differs from the same line with one.
pub(crate) fn split_lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Whether `wanted` is in `lines` from index `start` on.
pub(crate) fn matches_at(lines: &[&[u8]], start: usize, wanted: &[Vec<u8>]) -> bool {
    lines
        .get(start..start.saturating_add(wanted.len()))
        .is_some_and(|found| found.iter().zip(wanted).all(|(line, wanted)| *line == wanted.as_slice()))
}
