//! Lines of C: which of them are code, and which of them the preprocessor keeps.

use std::collections::{BTreeMap, BTreeSet};

/// Numbers of the lines of one file that a preprocessor keeps. A marker `# 12 "name" flags` gives the origin of the next line.
pub(super) fn kept_lines(preprocessed: &str, is_file: impl Fn(&str) -> bool) -> BTreeSet<usize> {
    let mut known: BTreeMap<&str, bool> = BTreeMap::new();
    let (mut line, mut is_current) = (0, false);
    let mut kept = BTreeSet::new();
    for text in preprocessed.lines() {
        let marker = text.strip_prefix("# ").and_then(|rest| {
            let (number, name) = rest.split_once(" \"")?;
            Some((number.parse::<usize>().ok()?, &name[..name.rfind('"')?]))
        });
        if let Some((number, name)) = marker {
            line = number;
            is_current = *known.entry(name).or_insert_with(|| is_file(name));
            continue;
        }
        if is_current && !text.trim().is_empty() {
            kept.insert(line);
        }
        line += 1;
    }
    kept
}

/// Numbers of the lines that hold more than comments, directives and brackets.
pub(super) fn code_lines(text: &str) -> BTreeSet<usize> {
    let mut code = BTreeSet::new();
    let (mut in_comment, mut in_directive) = (false, false);
    for (index, line) in text.lines().enumerate() {
        let mut rest = line;
        let mut left = String::new();
        while !rest.is_empty() {
            if in_comment {
                match rest.find("*/") {
                    Some(at) => (in_comment, rest) = (false, &rest[at + 2..]),
                    None => rest = "",
                }
                continue;
            }
            match (rest.find("/*"), rest.find("//")) {
                (Some(block), line) if line.is_none_or(|line| block < line) => {
                    left.push_str(&rest[..block]);
                    (in_comment, rest) = (true, &rest[block + 2..]);
                }
                (_, Some(line)) => {
                    left.push_str(&rest[..line]);
                    rest = "";
                }
                _ => {
                    left.push_str(rest);
                    rest = "";
                }
            }
        }
        let is_directive = in_directive || left.trim_start().starts_with('#');
        in_directive = is_directive && line.ends_with('\\');
        let is_code = left.chars().any(|c| c.is_alphanumeric());
        // a label or `else` produces no code of its own; the preprocessor keeps its line all the same
        if !is_directive && is_code {
            code.insert(index + 1);
        }
    }
    code
}
