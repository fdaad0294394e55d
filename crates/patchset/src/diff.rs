//! Unified diffs as `git diff` writes them: Myers with the indent heuristic, three lines of context, and the line of the
//! surrounding function in the head of a hunk. [`crate::patch`] reads them.

use imara_diff::{Algorithm, Diff, Hunk, InternedInput};

/// Lines around a change in a patch file.
pub const CONTEXT_LINES: usize = 3;
/// git truncates the function line to this length.
const FUNCTION_BYTES_MAX: usize = 80;

/// The diff of one file, from `--- a/PATH` on; empty when the texts are equal.
pub fn unified(path: &str, before: &[u8], after: &[u8], context: usize) -> Vec<u8> {
    let (old, new) = (lines(before), lines(after));
    let mut input: InternedInput<&[u8]> = InternedInput::default();
    input.update_before(old.iter().copied());
    input.update_after(new.iter().copied());
    let mut diff = Diff::compute(Algorithm::Myers, &input);
    diff.postprocess_lines(&input);
    let changes: Vec<Hunk> = diff.hunks().collect();
    let mut text = Vec::new();
    if changes.is_empty() {
        return text;
    }
    text.extend(format!("--- a/{path}\n+++ b/{path}\n").bytes());
    for group in groups(&changes, context) {
        write_hunk(&mut text, group, &old, &new, context);
    }
    text
}

fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

/// Changes with touching contexts share a hunk.
fn groups(changes: &[Hunk], context: usize) -> Vec<&[Hunk]> {
    changes.chunk_by(|a, b| (b.before.start - a.before.end) as usize <= 2 * context).collect()
}

fn write_hunk(text: &mut Vec<u8>, group: &[Hunk], old: &[&[u8]], new: &[&[u8]], context: usize) {
    let (first, last) = (&group[0], &group[group.len() - 1]);
    let lead = (first.before.start as usize).min(context);
    let start = first.before.start as usize - lead;
    let end = (last.before.end as usize + context).min(old.len());
    let new_start = first.after.start as usize - lead;
    let new_end = last.after.end as usize + (end - last.before.end as usize);
    let range = |start: usize, count: usize| match count {
        1 => format!("{}", start + 1),
        // the position of an empty side is the line before it
        0 => format!("{start},0"),
        _ => format!("{},{count}", start + 1),
    };
    let head = format!("@@ -{} +{} @@", range(start, end - start), range(new_start, new_end - new_start));
    text.extend(head.bytes());
    if let Some(function) = function_above(&old[..start]) {
        text.push(b' ');
        text.extend(function);
    }
    text.push(b'\n');
    let mut push = |mark: u8, line: &[u8]| {
        text.push(mark);
        text.extend(line);
        if !line.ends_with(b"\n") {
            text.extend(b"\n\\ No newline at end of file\n");
        }
    };
    let mut at = start;
    for change in group {
        let (removed, added) = (change.before.start as usize..change.before.end as usize, &change.after);
        old[at..removed.start].iter().for_each(|line| push(b' ', line));
        old[removed.clone()].iter().for_each(|line| push(b'-', line));
        new[added.start as usize..added.end as usize].iter().for_each(|line| push(b'+', line));
        at = removed.end;
    }
    old[at..end].iter().for_each(|line| push(b' ', line));
}

fn function_above<'a>(lines: &[&'a [u8]]) -> Option<&'a [u8]> {
    let starts = |line: &&&[u8]| line.first().is_some_and(|c| c.is_ascii_alphabetic() || b"_$".contains(c));
    let line = lines.iter().rev().find(starts)?;
    Some(line[..line.len().min(FUNCTION_BYTES_MAX)].trim_ascii_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patch::Patch;

    const HEADER: &str = "Why: a test\nUpstream: none\nSince: 1.0\nGuards: x.guard.toml\n\n";

    /// The written diff is parsed and gives the same text.
    fn round_trip(before: &str, after: &str) -> String {
        let text = unified("f.c", before.as_bytes(), after.as_bytes(), CONTEXT_LINES);
        let patch = Patch::parse(&[HEADER.as_bytes(), &text].concat()).unwrap();
        assert_eq!(patch.files[0].apply(before.as_bytes()).unwrap(), after.as_bytes());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn writes_diffs_as_git_does() {
        let before = "int f(void)\n{\n  a();\n  b();\n  c();\n  d();\n  e();\n}\n";
        let text = round_trip(before, &before.replace("  e();\n", "  e();\n  f();\n"));
        assert_eq!(
            text,
            "--- a/f.c\n+++ b/f.c\n@@ -5,4 +5,5 @@ int f(void)\n   c();\n   d();\n   e();\n+  f();\n }\n"
        );
        assert!(unified("f.c", b"same", b"same", 3).is_empty());
    }

    #[test]
    fn gives_far_changes_their_own_hunks() {
        let before: String = (0..40).map(|n| format!("line {n}\n")).collect();
        let two = before.replace("line 3\n", "x\n").replace("line 30\n", "y\n");
        assert_eq!(round_trip(&before, &two).matches("\n@@ ").count(), 2);
        let near = before.replace("line 3\n", "x\n").replace("line 10\n", "y\n");
        assert_eq!(round_trip(&before, &near).matches("\n@@ ").count(), 1);
    }

    #[test]
    fn keeps_a_missing_last_line_end() {
        insta::assert_snapshot!(round_trip("a\nb", "a\nc"), @r"
        --- a/f.c
        +++ b/f.c
        @@ -1,2 +1,2 @@
         a
        -b
        \ No newline at end of file
        +c
        \ No newline at end of file
        ");
        round_trip("a\nb", "a\nb\n");
        round_trip("a\nb\n", "a\nb");
    }
}
