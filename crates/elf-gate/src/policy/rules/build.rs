//! Rules on traces of the build: compilers, dependencies and paths.

use crate::policy::check_result::{CheckResult, list};
use crate::policy::rule::{RuleInput, rules};
use elf_facts::facts::LocalPaths;
use elf_facts::patterns as glob;

rules! {
    "no-local-paths" at BEFORE_PACKING, enabled by "`local_paths`" if |policy| !policy.local_paths.is_empty() => local_paths {
        detects: "a path of the build machine in the bytes, outside of debug sections",
        rationale: "the path discloses user names and folders, and the bytes differ between machines",
        incident: "panic messages of released Rust programs start with `/home/` and the user name of the developer",
        other_tools: "no other tool fails; diffoscope shows the path when two builds differ",
        fix: "`--remap-path-prefix` for rustc, `-ffile-prefix-map` for C, and no `__FILE__` in assertions; use a waiver with `item` for paths that must stay",
    }
    "mapped-debug-paths" at WITH_DEBUG_SECTIONS, enabled by "`mapped_debug_paths`" if |policy| policy.mapped_debug_paths => mapped_debug_paths {
        detects: "a path of the build machine in debug sections; `cannot tell` when they are compressed",
        rationale: "the build-id is a digest of the debug sections, too: another home folder gives another build-id, and with it another binary",
        incident: "the debug file had 1,300 paths below the cache folder of the user who built, from the libc that zig compiles",
        other_tools: "no other tool fails; diffoscope shows the path when two builds differ",
        fix: "`--remap-path-prefix` for rustc, `-ffile-prefix-map` for C; a fixed path for a libc that the toolchain compiles itself",
    }
    "producers" at COMPILED, enabled by "`producers`" if |policy| !policy.producers.is_empty() => producers {
        detects: "an unexpected compiler or linker in .comment",
        rationale: "another compiler used other flags and other headers, possibly those of another libc",
        incident: "a program for musl contains objects that the system gcc compiled against glibc headers",
        other_tools: "BinSkim reads compilers from DWARF for its own rules; the other tools at most show .comment",
        fix: "find the object with `readelf -p .comment *.o`; set CC for every build script",
    }
    "auditable-dependencies" at UNPACKED, enabled by "`needs_auditable_dependencies`" if |policy| policy.needs_auditable_dependencies => auditable {
        detects: "no .dep-v0 section, one that does not decompress to JSON, or an empty list",
        rationale: "without the list the crates of a program cannot be determined from the file",
        incident: "programs with a vulnerable crate had to be found on machines without their lock files",
        other_tools: "`cargo audit bin`, Trivy, Grype and Syft read the section; none fails when it is missing",
        fix: "build with `cargo auditable build`",
    }
}

fn local_paths(input: &RuleInput) -> CheckResult {
    no_path_in(input, &input.facts.local_paths)
}

fn no_path_in(input: &RuleInput, searched: &LocalPaths) -> CheckResult {
    let folders = input.evidence.build_folders;
    let and_folders = match folders.len() {
        0 => String::new(),
        count => format!(", nor below the {count} folders of this build"),
    };
    let expected = format!("no path below {}{and_folders}", list(&input.policy.local_paths));
    let forbidden = || input.policy.local_paths.iter().chain(folders);
    let missing: Vec<&String> = forbidden().filter(|prefix| !searched.prefixes.contains(prefix)).collect();
    if !missing.is_empty() {
        let hint = "read the file with `inspect_for` and these prefixes";
        return CheckResult::cannot_tell(expected, format!("not searched for: {}", list(&missing)), hint);
    }
    let is_forbidden = |path: &str| forbidden().any(|prefix| path.starts_with(prefix.as_str()));
    let found = searched.found.iter().filter(|found| is_forbidden(&found.path));
    let mut found: Vec<String> = found.map(|found| found.path.clone()).collect();
    if searched.unlisted > 0 {
        // A waiver for single paths must not cover paths that are not listed.
        found.push(format!("{} unlisted matches", searched.unlisted));
    }
    CheckResult::pass_if_none(found, expected)
}

fn mapped_debug_paths(input: &RuleInput) -> CheckResult {
    let sections = input.facts.sections.iter().filter(|section| section.is_debug() && section.has_contents());
    let compressed = sections.filter(|section| section.is_compressed());
    let compressed: Vec<&str> = compressed.map(|section| section.name.as_str()).collect();
    if !compressed.is_empty() {
        let hint = "decompress them first: `objcopy --decompress-debug-sections FILE`";
        return CheckResult::cannot_tell(
            "readable debug sections",
            format!("compressed: {}", list(&compressed)),
            hint,
        );
    }
    no_path_in(input, &input.facts.debug_paths)
}

fn producers(input: &RuleInput) -> CheckResult {
    let allowed = &input.policy.producers;
    let expected = format!("only {}", list(allowed));
    let producers = &input.facts.producers;
    if producers.is_empty() {
        let hint = "judge the file before `strip` removes .comment";
        return CheckResult::cannot_tell(expected, "no .comment", hint);
    }
    let is_allowed =
        |line: &str| allowed.iter().any(|pattern| glob::matches(pattern.as_bytes(), line.as_bytes()));
    let others: Vec<String> = producers.iter().filter(|line| !is_allowed(line)).cloned().collect();
    let found = if others.is_empty() { list(producers) } else { list(&others) };
    CheckResult { items: others.clone(), ..CheckResult::pass_if(others.is_empty(), expected, found) }
}

fn auditable(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = ".dep-v0 with a list of packages";
    let Some(auditable) = &input.facts.auditable else {
        return match input.facts.sections.is_empty() {
            true => CheckResult::cannot_tell(
                EXPECTED,
                "no section headers",
                "judge the file before they are removed",
            ),
            false => CheckResult::pass_if(false, EXPECTED, "no .dep-v0"),
        };
    };
    let bytes = auditable.compressed_bytes;
    match &auditable.packages {
        Ok(0) => CheckResult::pass_if(false, EXPECTED, "an empty list"),
        Ok(count) => CheckResult::pass_if(true, EXPECTED, format!("{count} packages in {bytes} bytes")),
        Err(error) => CheckResult::pass_if(false, EXPECTED, format!(".dep-v0 of {bytes} bytes: {error}")),
    }
}
