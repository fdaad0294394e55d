//! Rules on split debug files: seen from the stripped file that names one, and from the debug file itself.

use super::rules::{DEBUG, STRIPPED};
use super::{Case, Finding, Rule, list};
use crate::facts::{DebugLink, Facts, Form, PT_LOAD};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "debug-file-matches",
        stages: STRIPPED,
        demanded_by: "`needs_debug_file`",
        catches: "a debug file with another build-id, another name or other bytes than .gnu_debuglink says",
        why: "debuggers refuse or, worse, accept the wrong file, and production backtraces name wrong lines",
        incident: "a debug file that was stripped again after its CRC-32 had been written: gdb refused it on the day that it was needed",
        peers: "none; gdb compares when it is too late",
        fix: "split, strip and link in one go: `objcopy --only-keep-debug`, `strip`, `objcopy --add-gnu-debuglink=`; do not touch the debug file afterwards",
        is_demanded: |policy| policy.needs_debug_file,
        check: debug_file_matches,
    },
    Rule {
        id: "debug-information",
        stages: DEBUG,
        demanded_by: "every policy",
        catches: "a file judged as a debug file that has no debug information, or whose code can still run",
        why: "an empty debug file is found out on the day that it is needed; and a program whose section headers call its code empty must not slip through the few rules for debug files",
        incident: "a build that passed `-g0` in one variable and split off debug files all the same: every one had symbols, and not one line number",
        peers: "`eu-elflint -d` and `gdb` see it; checksec, LIEF, BinSkim and auditwheel judge a debug file as if it were a program",
        fix: "compile with `-g`, split with `objcopy --only-keep-debug FILE FILE.debug`",
        is_demanded: |_| true,
        check: debug_information,
    },
    Rule {
        id: "debug-file-owner",
        stages: DEBUG,
        demanded_by: "`needs_owner`; `verify-elf` demands it when a file among its inputs names this one",
        catches: "a debug file whose build-id, name or CRC-32 is not that of the program beside it; `cannot tell` without that program",
        why: "the debug file of another build gives backtraces with wrong lines, and nobody notices",
        incident: "a release folder that was filled by two builds: the program from the second, the debug file from the first",
        peers: "none; gdb compares when it is too late",
        fix: "ship the two files of one build; do not touch the debug file after its CRC-32 was written into the program",
        is_demanded: |policy| policy.needs_owner,
        check: debug_file_owner,
    },
];

/// What a debug file is compared with: the program that it was split from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub name: String,
    pub build_id: Option<String>,
    pub debug_link: Option<DebugLink>,
}

impl Owner {
    pub fn of(name: impl Into<String>, facts: &Facts) -> Owner {
        Owner { name: name.into(), build_id: facts.build_id.clone(), debug_link: facts.debug_link.clone() }
    }
}

fn debug_information(case: &Case) -> Finding {
    const EXPECTED: &str = "code without contents, and .debug_* sections";
    let facts = case.facts;
    if facts.form != Form::DebugFile {
        let found = format!("{} ({})", facts.form.name(), facts.form_because);
        return Finding::pass_if(false, EXPECTED, found).hint("judge it without `--stage debug`");
    }
    // The loader goes by segments. The section headers of a program may call its code empty, and it runs all the same.
    let code = facts.segments.iter().enumerate();
    let code = code.filter(|(_, segment)| segment.kind_number == PT_LOAD && segment.is_executable());
    let code = code.filter(|(_, segment)| segment.file_size_bytes > 0);
    let code = code
        .map(|(index, segment)| format!("segment {index} with {} bytes of code", segment.file_size_bytes));
    let code: Vec<String> = code.collect();
    if !code.is_empty() {
        return Finding::pass_if(false, EXPECTED, list(&code));
    }
    let sections = facts.sections.iter().filter(|section| section.is_debug() && section.size_bytes > 0);
    let sections: Vec<&str> = sections.map(|section| section.name.as_str()).collect();
    let owner = facts.build_id.as_ref().map_or(String::new(), |id| format!("; of build-id {id}"));
    Finding::pass_if(!sections.is_empty(), EXPECTED, format!("{}{owner}", list(&sections)))
}

fn debug_file_owner(case: &Case) -> Finding {
    const EXPECTED: &str = "the build-id, name and CRC-32 that the program beside it gives";
    let Some(owner) = case.evidence.owner else {
        let hint = "give the program and its debug file in one run: `verify-elf FILE FILE.debug`";
        return Finding::cannot_tell(EXPECTED, "no program that names this debug file", hint);
    };
    let show = |id: &Option<String>| id.clone().unwrap_or("none".into());
    let mut wrong = Vec::new();
    if owner.build_id.is_none() || owner.build_id != case.facts.build_id {
        wrong.push(format!("build-id {} here, {} there", show(&case.facts.build_id), show(&owner.build_id)));
    }
    match (&owner.debug_link, case.evidence.own_bytes) {
        (None, _) => wrong.push("it has no .gnu_debuglink".into()),
        (Some(link), Some(bytes)) => {
            let crc32 = crc32(bytes);
            if crc32 != link.crc32 {
                wrong.push(format!("CRC-32 {crc32:08x} here, {:08x} in its link", link.crc32));
            }
        }
        (Some(_), None) if wrong.is_empty() => {
            let hint = "give the bytes of this file as evidence, too";
            return Finding::cannot_tell(EXPECTED, "no bytes to sum", hint);
        }
        (Some(_), None) => {}
    }
    if let (Some(link), Some(name)) = (&owner.debug_link, case.evidence.file_name) {
        let name = name.rsplit(['/', '!']).next().unwrap_or(name);
        if name != link.file_name {
            wrong.push(format!("its link names `{}`", link.file_name));
        }
    }
    let found = match wrong.is_empty() {
        true => format!("`{}`, build-id {}", owner.name, show(&owner.build_id)),
        false => format!("`{}`: {}", owner.name, wrong.join("; ")),
    };
    Finding::pass_if(wrong.is_empty(), EXPECTED, found)
}

fn debug_file_matches(case: &Case) -> Finding {
    const EXPECTED: &str = "a debug file with the same build-id, named and summed in .gnu_debuglink";
    let Some(debug) = case.evidence.debug_file else {
        return Finding::cannot_tell(
            EXPECTED,
            "no debug file given",
            "give it with `--debug-file FILE.debug`",
        );
    };
    let mut wrong = Vec::new();
    match (&case.facts.build_id, &debug.build_id) {
        (Some(ours), Some(theirs)) if ours == theirs => {}
        (ours, theirs) => {
            let show = |id: &Option<String>| id.clone().unwrap_or("none".into());
            wrong.push(format!("build-id {} here, {} in the debug file", show(ours), show(theirs)));
        }
    }
    if !debug.sections.iter().any(|section| section.name.starts_with(".debug_") && section.size_bytes > 0) {
        wrong.push("a debug file without .debug_* sections".into());
    }
    let Some(link) = &case.facts.debug_link else {
        wrong.push("no .gnu_debuglink".into());
        return Finding::pass_if(false, EXPECTED, wrong.join("; "));
    };
    if let Some(name) = case.evidence.debug_file_name
        && name != link.file_name
    {
        wrong.push(format!("the debug file is `{name}`, the link names `{}`", link.file_name));
    }
    let Some(bytes) = case.evidence.debug_file_bytes else {
        if wrong.is_empty() {
            return Finding::cannot_tell(
                EXPECTED,
                "the bytes of the debug file are not given",
                "give them too",
            );
        }
        return Finding::pass_if(false, EXPECTED, wrong.join("; "));
    };
    let crc32 = crc32(bytes);
    if crc32 != link.crc32 {
        wrong.push(format!("CRC-32 {:08x} in the link, {crc32:08x} of the debug file", link.crc32));
    }
    let found =
        if wrong.is_empty() { format!("`{}`, CRC-32 {crc32:08x}", link.file_name) } else { wrong.join("; ") };
    Finding::pass_if(wrong.is_empty(), EXPECTED, found)
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
