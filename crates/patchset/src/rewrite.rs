//! A patch and its guard, written again for the texts before and after it.

use anyhow::{Context, Result};
use diag::Diagnostic;

use crate::codes::PATCH_SYNTAX;
use crate::diff;
use crate::guard::{Guard, new_file_block, pin_digests};
use crate::patch::{FileDiff, Patch};

/// A file before and after a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileEdit {
    pub path: String,
    pub before: Vec<u8>,
    pub after: Vec<u8>,
}

/// New content of a patch file and its guard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RewrittenPatch {
    pub name: String,
    pub patch: Vec<u8>,
    pub guard: String,
}

/// Writes a patch and its guard for these texts. The diff of a file with unchanged states stays byte for byte, and so does
/// everything in the guard but its digests.
pub(crate) fn rewrite(name: &str, old_patch: &[u8], old_guard: &str, edits: &[FileEdit]) -> Result<RewrittenPatch> {
    let old_diffs = Patch::parse(old_patch).map(|patch| patch.files).unwrap_or_default();
    let mut text = Patch::header_bytes(old_patch).to_vec();
    for FileEdit { path, before, after } in edits {
        let kept = old_diffs.iter().find(|diff| diff.path == *path);
        match kept.filter(|diff| diff.apply(before).is_ok_and(|result| result == *after)) {
            Some(diff) => text.extend(&diff.text),
            None => text.extend(diff::unified(path, before, after, diff::CONTEXT_LINES)),
        }
    }
    let parsed = Patch::parse(&text)?;
    for FileEdit { path, before, after } in edits {
        let result = diff_of(&parsed, path)?.apply(before).map_err(|refusal| refusal.diagnostic(path))?;
        if result != *after {
            return Err(Diagnostic::new(&PATCH_SYNTAX, "the new diff does not give the edited text").file(path).into());
        }
    }
    // A file that the patch no longer changes needs no guard.
    let mut guard = without_other_files(old_guard, edits);
    for FileEdit { path, before, after } in edits {
        if !lists_path(guard.lines(), path) {
            guard.push_str(&new_file_block(diff_of(&parsed, path)?, before, after)?);
        }
    }
    Guard::parse(&guard)?;
    for FileEdit { path, before, after } in edits {
        guard = pin_digests(&guard, path, before, after)?;
    }
    Ok(RewrittenPatch { name: name.into(), patch: text, guard })
}

fn diff_of<'a>(patch: &'a Patch, path: &str) -> Result<&'a FileDiff> {
    patch.files.iter().find(|diff| diff.path == path).context("a changed file has no diff")
}

fn lists_path<'a>(mut lines: impl Iterator<Item = &'a str>, path: &str) -> bool {
    let named = format!("path = \"{path}\"");
    lines.any(|line| line.trim() == named)
}

fn without_other_files(guard: &str, edits: &[FileEdit]) -> String {
    let mut blocks: Vec<Vec<&str>> = vec![Vec::new()];
    for line in guard.split_inclusive('\n') {
        if line.trim_start().starts_with("[[") {
            blocks.push(Vec::new());
        }
        blocks.last_mut().expect("there is a first block").push(line);
    }
    let is_kept = |block: &&Vec<&str>| {
        block.first().is_none_or(|first| first.trim() != "[[file]]")
            || edits.iter().any(|edit| lists_path(block.iter().copied(), &edit.path))
    };
    blocks.iter().filter(is_kept).flatten().copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{AFTER, BEFORE, Library};

    fn edit(path: &str, before: &str, after: &str) -> FileEdit {
        FileEdit { path: path.into(), before: before.into(), after: after.into() }
    }

    #[test]
    fn keeps_unchanged_parts_byte_for_byte() {
        let library = Library::new();
        let read = |name: &str| std::fs::read(library.path("vendor/patches").join(name)).unwrap();
        let (patch, guard) = (read("0001-one.patch"), String::from_utf8(read("0001-one.guard.toml")).unwrap());
        let same = rewrite("0001-one", &patch, &guard, &[edit("one.c", BEFORE, AFTER)]).unwrap();
        assert_eq!((same.patch, same.guard), (patch.clone(), guard.clone()));

        // another file instead: its guard is added, that of the old file is removed
        let other = rewrite("0001-one", &patch, &guard, &[edit("two.c", "int two;\n", "int three;\n")]).unwrap();
        let guard = Guard::parse(&other.guard).unwrap();
        assert_eq!(guard.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["two.c"]);
        assert_eq!(guard.objects.len(), 1);
        assert!(other.patch.starts_with(Patch::header_bytes(&patch)));
    }
}
