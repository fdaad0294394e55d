//! Rules on split debug files: for the stripped program that names one, and for the debug file itself.

use elf_facts::facts::{FileKind, PT_LOAD};

use crate::policy::check_result::{CheckResult, list};
use crate::policy::rule::{RuleInput, rules};

rules! {
    "debug-file-matches" at STRIPPED, enabled by "`needs_debug_file`" if |policy| policy.needs_debug_file => debug_file_matches {
        detects: "a debug file whose build-id, name or CRC-32 differs from the program and its .gnu_debuglink",
        rationale: "debuggers reject the wrong file, or accept it and show wrong lines",
        incident: "a debug file was stripped again after its CRC-32 had been stored, and gdb rejected it",
        other_tools: "none; gdb compares the values when the file is needed",
        fix: "split, strip and link in one step: `objcopy --only-keep-debug`, `strip`, `objcopy --add-gnu-debuglink=`; do not modify the debug file afterwards",
    }
    "debug-information" at DEBUG, enabled by "every policy" if |_| true => debug_information {
        detects: "a file judged as a debug file that has no debug information, or whose code is loadable",
        rationale: "an empty debug file is useless, and a program whose section headers declare its code empty must not pass by the few rules for debug files",
        incident: "a build passed `-g0` in one variable and still split off debug files, which had symbols and no line numbers",
        other_tools: "`eu-elflint -d` and `gdb` detect it; checksec, LIEF, BinSkim and auditwheel judge a debug file like a program",
        fix: "compile with `-g`, split with `objcopy --only-keep-debug FILE FILE.debug`",
    }
    "debug-file-program" at DEBUG, enabled by "`needs_program`; the command line enables it when an input names this file" if |policy| policy.needs_program => debug_file_program {
        detects: "a debug file whose build-id, name or CRC-32 differs from its program; `cannot tell` without the program",
        rationale: "the debug file of another build gives backtraces with wrong lines, without an error",
        incident: "two builds wrote into one release folder: the program came from the second, the debug file from the first",
        other_tools: "none; gdb compares the values when the file is needed",
        fix: "ship both files of one build; do not modify the debug file after its CRC-32 was stored in the program",
    }
}

fn debug_information(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "code without contents, and .debug_* sections";
    let facts = input.facts;
    if facts.kind != FileKind::DebugFile {
        let found = format!("{} ({})", facts.kind.name(), facts.kind_reason);
        return CheckResult::pass_if(false, EXPECTED, found).hint("judge it without `--stage debug`");
    }
    // The loader uses segments: a program runs even if its section headers declare its code empty.
    let code = facts.segments.iter().enumerate();
    let code = code.filter(|(_, segment)| segment.kind_number == PT_LOAD && segment.is_executable());
    let code = code.filter(|(_, segment)| segment.file_size_bytes > 0);
    let code = code
        .map(|(index, segment)| format!("segment {index} with {} bytes of code", segment.file_size_bytes));
    let code: Vec<String> = code.collect();
    if !code.is_empty() {
        return CheckResult::pass_if(false, EXPECTED, list(&code));
    }
    let sections = facts.sections.iter().filter(|section| section.is_debug() && section.size_bytes > 0);
    let sections: Vec<&str> = sections.map(|section| section.name.as_str()).collect();
    let build_id = facts.build_id.as_ref().map_or(String::new(), |id| format!("; build-id {id}"));
    CheckResult::pass_if(!sections.is_empty(), EXPECTED, format!("{}{build_id}", list(&sections)))
}

fn debug_file_program(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "the build-id, name and CRC-32 of its program";
    let Some(program) = input.evidence.program else {
        let hint = "judge the program and its debug file in one run: `elf-gate FILE FILE.debug`";
        return CheckResult::cannot_tell(EXPECTED, "no program names this debug file", hint);
    };
    let show = |id: &Option<String>| id.clone().unwrap_or("none".into());
    let mut wrong = Vec::new();
    if program.build_id.is_none() || program.build_id != input.facts.build_id {
        wrong.push(format!(
            "build-id {} here, {} in the program",
            show(&input.facts.build_id),
            show(&program.build_id)
        ));
    }
    match (&program.debug_link, input.evidence.own_bytes) {
        (None, _) => wrong.push("the program has no .gnu_debuglink".into()),
        (Some(link), Some(bytes)) => {
            let crc32 = crc32(bytes);
            if crc32 != link.crc32 {
                wrong.push(format!("CRC-32 {crc32:08x} here, {:08x} in .gnu_debuglink", link.crc32));
            }
        }
        (Some(_), None) if wrong.is_empty() => {
            let hint = "pass the bytes of this file as evidence";
            return CheckResult::cannot_tell(EXPECTED, "no bytes for the CRC-32", hint);
        }
        (Some(_), None) => {}
    }
    if let (Some(link), Some(name)) = (&program.debug_link, input.evidence.file_name) {
        let name = name.rsplit(['/', '!']).next().unwrap_or(name);
        if name != link.file_name {
            wrong.push(format!("its .gnu_debuglink names `{}`", link.file_name));
        }
    }
    let found = match wrong.is_empty() {
        true => format!("`{}`, build-id {}", program.name, show(&program.build_id)),
        false => format!("`{}`: {}", program.name, wrong.join("; ")),
    };
    CheckResult::pass_if(wrong.is_empty(), EXPECTED, found)
}

fn debug_file_matches(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str =
        "a debug file with the same build-id, and with the name and CRC-32 of .gnu_debuglink";
    let Some(debug) = input.evidence.debug_file else {
        return CheckResult::cannot_tell(EXPECTED, "no debug file", "pass it with `--debug-file FILE.debug`");
    };
    let mut wrong = Vec::new();
    match (&input.facts.build_id, &debug.build_id) {
        (Some(own), Some(other)) if own == other => {}
        (own, other) => {
            let show = |id: &Option<String>| id.clone().unwrap_or("none".into());
            wrong.push(format!("build-id {} here, {} in the debug file", show(own), show(other)));
        }
    }
    if !debug.sections.iter().any(|section| section.name.starts_with(".debug_") && section.size_bytes > 0) {
        wrong.push("a debug file without .debug_* sections".into());
    }
    let Some(link) = &input.facts.debug_link else {
        wrong.push("no .gnu_debuglink".into());
        return CheckResult::pass_if(false, EXPECTED, wrong.join("; "));
    };
    if let Some(name) = input.evidence.debug_file_name
        && name != link.file_name
    {
        wrong.push(format!("the debug file is `{name}`, .gnu_debuglink names `{}`", link.file_name));
    }
    let Some(bytes) = input.evidence.debug_file_bytes else {
        if wrong.is_empty() {
            return CheckResult::cannot_tell(
                EXPECTED,
                "no bytes of the debug file",
                "pass its bytes as evidence",
            );
        }
        return CheckResult::pass_if(false, EXPECTED, wrong.join("; "));
    };
    let crc32 = crc32(bytes);
    if crc32 != link.crc32 {
        wrong.push(format!("CRC-32 {:08x} in .gnu_debuglink, {crc32:08x} of the debug file", link.crc32));
    }
    let found =
        if wrong.is_empty() { format!("`{}`, CRC-32 {crc32:08x}", link.file_name) } else { wrong.join("; ") };
    CheckResult::pass_if(wrong.is_empty(), EXPECTED, found)
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}
