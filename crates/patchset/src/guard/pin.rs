//! A guard's digests, pinned anew in its text: what a person wrote around them stays as it is.

use anyhow::{Context, Result, ensure};

use super::{Guard, occurrences};
use crate::patch::FileDiff;
use store::sha256_hex;

/// The text of a guard with the digests of `before` and `after` for one of its files.
pub fn pin(text: &str, path: &str, before: &[u8], after: &[u8]) -> Result<String> {
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
            let line = block
                .iter_mut()
                .find(|line| line.starts_with(key))
                .with_context(|| format!("`{path}` has no line `{key} = …` in its guard"))?;
            *line = format!("{key} = \"{}\"\n", sha256_hex(bytes));
        }
        let pinned = lines.concat();
        let guard = Guard::parse(&pinned)?;
        let digests =
            guard.files.iter().find(|file| file.path == path).map(|f| (&f.pre_sha256, &f.post_sha256));
        ensure!(
            digests == Some((&sha256_hex(before), &sha256_hex(after))),
            "`{path}`: its digests could not be pinned\nhint: write `[[file]]`, `{named}` and both digests on lines of their own"
        );
        return Ok(pinned);
    }
    anyhow::bail!("the guard has no `[[file]]` with `{named}` on a line of its own")
}

/// A block for a file that the guard does not know yet. Its anchors are the first lines that are unambiguous: a start, which a
/// person reads and betters.
pub fn block(diff: &FileDiff, before: &[u8], after: &[u8]) -> Result<String> {
    let says_something =
        |line: &&[u8]| line.iter().any(u8::is_ascii_alphanumeric) && line.trim_ascii().len() > 5;
    let once = |text: &[u8], line: &[u8]| {
        std::str::from_utf8(line).is_ok_and(|line| occurrences(text, line.trim_end()) == 1)
    };
    let old = diff.old_lines().filter(says_something).find(|line| once(before, line));
    let lines: Vec<&[u8]> = after.split(|byte| *byte == b'\n').collect();
    let added: Vec<&[u8]> = diff.added_lines().iter().filter_map(|n| lines.get(n - 1).copied()).collect();
    // A patch that only removes shows by what is left around it.
    let new =
        added.iter().copied().chain(diff.old_lines()).filter(says_something).find(|line| once(after, line));
    let anchor = |line: Option<&[u8]>, when: &str| -> Result<String> {
        let line = line.with_context(|| {
            format!(
                "`{}`: no line of the patch stands once {when} it: write the `[[file]]` of the guard by hand",
                diff.path
            )
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::unified;
    use crate::patch::Patch;

    const GUARD: &str = "# a comment\ntest = \"t\"\n[[file]]\npath = \"a.c\"\n# why\npre_sha256 = \"0\"\npost_sha256 = \"0\"\n\
        before = ['''x''']\nafter = [\"y\"]\n[[file]]\npath = \"b.c\"\npre_sha256 = \"1\"\npost_sha256 = \"1\"\n\
        before = [\"x\"]\nafter = [\"y\"]\n[[object]]\nmember = \"a.o\"\nnever = [\"abort\"]\n";

    fn guard() -> String {
        GUARD
            .replace("\"0\"", &format!("\"{}\"", "0".repeat(64)))
            .replace("\"1\"", &format!("\"{}\"", "1".repeat(64)))
    }

    #[test]
    fn only_the_digests_of_the_file_change() {
        let pinned = pin(&guard(), "b.c", b"before", b"after").unwrap();
        let changed: Vec<(String, String)> = guard()
            .lines()
            .map(String::from)
            .zip(pinned.lines().map(String::from))
            .filter(|(old, new)| old != new)
            .collect();
        assert_eq!(changed.len(), 2);
        assert_eq!(changed[0].1, format!("pre_sha256 = \"{}\"", sha256_hex(b"before")));
        assert_eq!(pin(&pinned, "b.c", b"before", b"after").unwrap(), pinned);
        assert!(pin(&guard(), "c.c", b"", b"").unwrap_err().to_string().contains("no `[[file]]`"));
        let odd = guard().replace("path = \"a.c\"", "path = 'a.c'");
        assert!(pin(&odd, "a.c", b"", b"").is_err(), "what is not understood is not rewritten");
    }

    #[test]
    fn a_new_block_is_a_whole_guard_of_its_file() {
        let before = b"int one;\nint two;\nint two;\nint three;\n";
        let after = b"int one;\nint two;\nint two;\nint \"four\";\n";
        let text =
            [b"Why: x\nUpstream: x\nSince: 1\nGuards: x\n\n", &unified("a.c", before, after, 3)[..]].concat();
        let diff = &Patch::parse(&text).unwrap().files[0];
        let block = block(diff, before, after).unwrap();
        let whole = format!("test = \"t\"\n{block}[[object]]\nmember = \"a.o\"\nnever = [\"abort\"]\n");
        let file = &Guard::parse(&whole).unwrap().files[0];
        assert_eq!(
            (&file.before[..], &file.after[..]),
            (&["int three;".to_string()][..], &["int \"four\";".to_string()][..])
        );
        assert!(file.before_violations(before).is_empty() && file.after_violations(after).is_empty());
    }
}
