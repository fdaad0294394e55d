//! Rules on what a build leaves in a file: who made it, of what, and where.

use super::rules::{BEFORE_PACKING, COMPILED, UNPACKED};
use super::{Case, Finding, Rule, glob, list};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "no-local-paths",
        stages: BEFORE_PACKING,
        demanded_by: "`local_paths`",
        catches: "a path of the build machine in the bytes, outside of debug sections",
        why: "it shows names and folders of people, and makes the bytes differ from machine to machine",
        incident: "panic messages of released Rust programs that begin with `/home/` and the name of the developer",
        peers: "none judges it; diffoscope shows it when two builds differ",
        fix: "`--remap-path-prefix` for rustc, `-ffile-prefix-map` for C, and no `__FILE__` in assertions; a waiver with `item` for what must stay",
        is_demanded: |policy| !policy.local_paths.is_empty(),
        check: local_paths,
    },
    Rule {
        id: "producers",
        stages: COMPILED,
        demanded_by: "`producers`",
        catches: "a compiler or linker in .comment that is not expected",
        why: "an object of another compiler was made with other flags, against other headers, maybe for another libc",
        incident: "objects of the system's gcc, compiled against headers of glibc, in a program for musl",
        peers: "BinSkim reads compilers from DWARF for its own rules; the others show .comment at most",
        fix: "find the object: `readelf -p .comment *.o`; set CC for every build script",
        is_demanded: |policy| !policy.producers.is_empty(),
        check: producers,
    },
    Rule {
        id: "auditable-dependencies",
        stages: UNPACKED,
        demanded_by: "`needs_auditable_dependencies`",
        catches: "no .dep-v0 section, one that does not decompress to JSON, or an empty list",
        why: "without it nobody can tell from the file which crates are in it",
        incident: "the search for every program that carries a vulnerable crate, on machines where no lock file is left",
        peers: "`cargo audit bin`, Trivy, Grype and Syft read the section; none fails when it is missing",
        fix: "build with `cargo auditable build`",
        is_demanded: |policy| policy.needs_auditable_dependencies,
        check: auditable,
    },
];

fn local_paths(case: &Case) -> Finding {
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

fn producers(case: &Case) -> Finding {
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

fn auditable(case: &Case) -> Finding {
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
