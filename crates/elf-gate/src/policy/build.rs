//! Rules on what a build leaves in a file: who made it, of what, and where.

use super::{Case, Finding, glob, list};

pub(super) fn local_paths(case: &Case) -> Finding {
    let searched = &case.facts.local_paths;
    let folders = case.evidence.build_folders;
    let and_folders = match folders.len() {
        0 => String::new(),
        count => format!(", nor the {count} folders of this build"),
    };
    let expected = format!("no path below {}{and_folders}", list(&case.policy.local_paths));
    let wanted = || case.policy.local_paths.iter().chain(folders);
    let missing: Vec<&String> = wanted().filter(|prefix| !searched.prefixes.contains(prefix)).collect();
    if !missing.is_empty() {
        let hint = "read the file with `inspect_for` and these prefixes";
        return Finding::cannot_tell(expected, format!("not looked for: {}", list(&missing)), hint);
    }
    let is_ours = |path: &str| wanted().any(|prefix| path.starts_with(prefix.as_str()));
    let found = searched.found.iter().filter(|found| is_ours(&found.path));
    let mut found: Vec<String> = found.map(|found| found.path.clone()).collect();
    if searched.unlisted > 0 {
        // Not known one by one, so that no waiver for single paths can speak of them.
        found.push(format!("{} places not listed", searched.unlisted));
    }
    Finding::pass_if_none(found, expected)
}

pub(super) fn producers(case: &Case) -> Finding {
    let allowed = &case.policy.producers;
    let expected = format!("made by {}", list(allowed));
    let producers = &case.facts.producers;
    if producers.is_empty() {
        let hint = "judge the file before `strip` removes .comment";
        return Finding::cannot_tell(expected, "no .comment", hint);
    }
    let is_allowed =
        |line: &str| allowed.iter().any(|pattern| glob::matches(pattern.as_bytes(), line.as_bytes()));
    let others: Vec<String> = producers.iter().filter(|line| !is_allowed(line)).cloned().collect();
    let found = if others.is_empty() { list(producers) } else { list(&others) };
    Finding { items: others.clone(), ..Finding::pass_if(others.is_empty(), expected, found) }
}

pub(super) fn auditable(case: &Case) -> Finding {
    const EXPECTED: &str = ".dep-v0 with a list of packages";
    let Some(auditable) = &case.facts.auditable else {
        return match case.facts.sections.is_empty() {
            true => {
                Finding::cannot_tell(EXPECTED, "no section headers", "judge the file before they are removed")
            }
            false => Finding::pass_if(false, EXPECTED, "no .dep-v0"),
        };
    };
    let bytes = auditable.compressed_bytes;
    match &auditable.packages {
        Ok(0) => Finding::pass_if(false, EXPECTED, "an empty list"),
        Ok(count) => Finding::pass_if(true, EXPECTED, format!("{count} packages in {bytes} bytes")),
        Err(error) => Finding::pass_if(false, EXPECTED, format!(".dep-v0 of {bytes} bytes: {error}")),
    }
}
