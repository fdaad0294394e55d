//! New digests in the text of a guard. Comments and layout stay as they are.

use anyhow::Result;
use diag::Diagnostic;
use store::sha256_hex;

use super::document::Guard;
use super::text::occurrences;
use crate::codes::PATCH_GUARD;
use crate::patch::FileDiff;

/// The text of a guard with the digests of `before` and `after` for one of its files.
pub fn pin_digests(text: &str, path: &str, before: &[u8], after: &[u8]) -> Result<String> {
    let mut lines: Vec<String> = text.split_inclusive('\n').map(String::from).collect();
    let starts: Vec<usize> =
        (0..lines.len()).filter(|at| lines[*at].trim_start().starts_with("[[")).collect();
    let named = format!("path = {}", quoted(path));
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(lines.len());
        let block = &mut lines[*start..end];
        if block[0].trim() != "[[file]]" || !block.iter().any(|line| line.trim() == named) {
            continue;
        }
        for (key, bytes) in [("pre_sha256", before), ("post_sha256", after)] {
            let line = block.iter_mut().find(|line| line.starts_with(key)).ok_or_else(|| {
                Diagnostic::new(&PATCH_GUARD, "a `[[file]]` has no line for a digest")
                    .expected(format!("{key} = …"))
                    .found(format!("none for `{path}`"))
            })?;
            *line = format!("{key} = \"{}\"\n", sha256_hex(bytes));
        }
        let pinned = lines.concat();
        let guard = Guard::parse(&pinned)?;
        let digests =
            guard.files.iter().find(|file| file.path == path).map(|f| (&f.pre_sha256, &f.post_sha256));
        if digests != Some((&sha256_hex(before), &sha256_hex(after))) {
            return Err(Diagnostic::new(&PATCH_GUARD, format!("the digests of `{path}` could not be pinned"))
                .hint(format!("write `[[file]]`, `{named}` and both digests on lines of their own"))
                .into());
        }
        return Ok(pinned);
    }
    Err(Diagnostic::new(&PATCH_GUARD, "a `[[file]]` of a guard was not found")
        .expected(format!("`{named}` on a line of its own"))
        .into())
}

/// A `[[file]]` block for a file that the guard does not list. Its anchors are the first lines that occur once: a starting point
/// to be replaced by better ones.
pub fn new_file_block(diff: &FileDiff, before: &[u8], after: &[u8]) -> Result<String> {
    let is_distinctive =
        |line: &&[u8]| line.iter().any(u8::is_ascii_alphanumeric) && line.trim_ascii().len() > 5;
    let once = |text: &[u8], line: &[u8]| {
        std::str::from_utf8(line).is_ok_and(|line| occurrences(text, line.trim_end()) == 1)
    };
    let old = diff.old_lines().filter(is_distinctive).find(|line| once(before, line));
    let lines: Vec<&[u8]> = after.split(|byte| *byte == b'\n').collect();
    let added: Vec<&[u8]> = diff.added_lines().iter().filter_map(|n| lines.get(n - 1).copied()).collect();
    // A patch that only removes lines is anchored at its context.
    let new =
        added.iter().copied().chain(diff.old_lines()).filter(is_distinctive).find(|line| once(after, line));
    let anchor = |line: Option<&[u8]>, when: &str| -> Result<String> {
        let line = line.ok_or_else(|| {
            Diagnostic::new(&PATCH_GUARD, format!("no line of the patch occurs once {when} it, so there is no anchor"))
                .file(&diff.path)
                .hint("write the `[[file]]` of the guard by hand")
        })?;
        Ok(quoted(std::str::from_utf8(line)?.trim_end()))
    };
    Ok(format!(
        "\n[[file]]\npath = {}\npre_sha256 = \"{}\"\npost_sha256 = \"{}\"\nbefore = [{}]\nafter = [{}]\n",
        quoted(&diff.path),
        sha256_hex(before),
        sha256_hex(after),
        anchor(old, "before")?,
        anchor(new, "after")?
    ))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.into()).to_string()
}

