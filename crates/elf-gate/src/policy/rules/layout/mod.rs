//! Rules on what a loader needs beyond single values: consistent ELF and program headers, an entry point in code, sections
//! inside of their segments, and nothing else in the file.
//!
//! The invariants are those of Linux's ELF loader (`fs/binfmt_elf.c`), of the start code of musl and glibc, and of the output
//! of all linkers. They hold for every program and library of a Debian system, so every policy enables the rules.

mod code;
mod debug_file;
mod elf_header;
mod entry_point;
mod file_map;
mod problems;
mod program_headers;
mod sections;

use elf_facts::facts::FileKind;

use crate::policy::check_result::CheckResult;
use crate::policy::rule::{RuleInput, rules};
use crate::policy::rules::inner::on_inner;
use crate::policy::rules::layout::problems::Problems;

rules! {
    "elf-header" at EVERY, enabled by "every policy" if |_| true => elf_header_of_file {
        detects: "a field of the ELF header that no linker writes: identification, version, flags, sizes and counts of tables, positions of tables",
        rationale: "Linux rejects some of these values, and other readers take them literally: a wrong size of an entry moves the whole table",
        incident: "74 of 152 random edits of headers that stopped a program from starting passed a gate that compared only the fields of its rules",
        other_tools: "`eu-elflint` detects most of them; readelf prints warnings for some; LIEF and checksec ignore them",
        fix: "build the file again; `readelf -h FILE` shows the fields",
    }
    "program-headers" at PROGRAM, enabled by "every policy" if |_| true => program_headers_of_file {
        detects: "program headers that a loader rejects or misreads: types, flags, order, overlap, alignment, sizes, address range, and segments outside of their PT_LOAD",
        rationale: "the kernel maps PT_LOAD by these values and ends the program when they are inconsistent; the libc finds thread-local data and relocations by the others",
        incident: "a file with a p_filesz above its p_memsz passed all checks and ended with ENOEXEC in production",
        other_tools: "`eu-elflint` detects some; readelf prints warnings; LIEF, checksec and BinSkim ignore them",
        fix: "link the file again, and do not edit its headers; `readelf -lW FILE` shows them",
    }
    "entry-point" at PROGRAM, enabled by "every policy" if |_| true => entry_point_of_file {
        detects: "an entry point outside of the code, inside of a function, or without instructions",
        rationale: "the kernel jumps to any address; the program ends with a signal, or starts in the middle of a function",
        incident: "a tool that rewrote the header stored a file offset as the entry point, and each start ended with SIGSEGV",
        other_tools: "`eu-elflint` compares it with the sections; the other tools show it",
        fix: "link the file again with the start code of the libc; `nm FILE | grep -w _start` and `readelf -h FILE` show both addresses",
    }
    "section-layout" at UNPACKED, enabled by "every policy" if |_| true => section_layout {
        detects: "sections and segments that contradict each other in address, offset, size, flags or type; `cannot tell` without section headers",
        rationale: "the linker writes both from one layout, so a difference means that one of them was edited: a debugger sees other code than the one that runs",
        incident: "a segment was moved by one page: section headers, symbols and `objdump` were still correct, and the program crashed at its start",
        other_tools: "`eu-elflint` detects it in part; readelf shows the mapping of sections to segments; the other tools ignore it",
        fix: "link the file again; `readelf -lSW FILE` shows both tables",
    }
    "unclaimed-bytes" at UNPACKED, enabled by "`no_unclaimed_bytes`" if |policy| policy.no_unclaimed_bytes => unclaimed_bytes {
        detects: "bytes that belong to no header, section or segment and are not padding, and parts of the file that share bytes",
        rationale: "no other rule and no other tool reads these bytes, and `strip` does not remove them",
        incident: "signing keys of a build were appended to a release by a script; no tool that reads ELF showed them",
        other_tools: "`binwalk` searches for known formats; LIEF shows bytes after the last section as an overlay; none fails",
        fix: "remove the bytes, or embed them in a section with `objcopy --add-section`; `patchelf` leaves such bytes, so link with the right run path instead",
    }
    "code-pointers" at UNPACKED, enabled by "every policy" if |_| true => code_pointers {
        detects: "pointers that lead elsewhere: entries of .init_array and .fini_array, addresses in the .got of a static program at a fixed position, the search table of the unwinder; and a build-id note that is not whole",
        rationale: "the start code calls each entry of .init_array; a wrong search table turns the first panic or exception into an abort",
        incident: "a linker script dropped .eh_frame and kept .eh_frame_hdr: the first panic of a release ended the process without a message",
        other_tools: "`eu-elflint` reads none of these contents; readelf shows them",
        fix: "link the file again; `readelf -wF FILE` and `objdump -s -j .init_array FILE` show the pointers",
    }
    "debug-file-layout" at STRIPPED, enabled by "`needs_debug_file`" if |policy| policy.needs_debug_file => debug_file_layout {
        detects: "an entry point, segments or sections that differ from those of the debug file",
        rationale: "both were split from one linked file, so an address that differs was edited afterwards",
        incident: "the entry point of a stripped file was moved to another function: no table of the file contradicted it, only its debug file did",
        other_tools: "`eu-unstrip` compares sections; gdb compares only the build-id and the CRC-32",
        fix: "split and strip the linked file again: `objcopy --only-keep-debug`, `strip`, `objcopy --add-gnu-debuglink=`",
    }
    "inner-headers" at PACKED, enabled by "every policy" if |_| true => inner_headers {
        detects: "the violations of `elf-header`, `program-headers` and `entry-point` in the original headers of a packed program",
        rationale: "the stub maps the original by these headers with its own code, which checks less than the kernel",
        incident: "a program with inconsistent headers was packed; the packed file started, and crashed in the libc",
        other_tools: "none of the other tools reads the inner headers of a packed file",
        fix: "judge the stripped file, link it again and pack it",
    }
}

fn elf_header_of_file(input: &RuleInput) -> CheckResult {
    let facts = input.facts;
    let mut problems = Problems::default();
    let scope = elf_header::Scope {
        file_bytes: Some(facts.size_bytes),
        sections: Some(&facts.sections),
        is_object: facts.kind == FileKind::Relocatable,
        is_debug_file: facts.is_debug_only,
    };
    elf_header::check(&facts.header, &scope, &mut problems);
    problems.result("a header as linkers write it")
}

fn program_headers_of_file(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "program headers that a loader accepts";
    let facts = input.facts;
    if matches!(facts.kind, FileKind::Relocatable | FileKind::DebugFile) {
        return CheckResult::pass_if(false, EXPECTED, format!("{} is not a program", facts.kind.name()));
    }
    let mut problems = Problems::default();
    program_headers::check(&facts.header, &facts.segments, input.policy.is_static, &mut problems);
    if facts.upx.is_none() {
        program_headers::check_kind(facts.kind, &facts.segments, &mut problems);
        program_headers::check_file_ranges(&facts.segments, facts.size_bytes, &mut problems);
    }
    problems.result(EXPECTED)
}

fn entry_point_of_file(input: &RuleInput) -> CheckResult {
    entry_point::check(input.facts)
}

fn section_layout(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "sections inside of their segments, and segments that consist of sections";
    let facts = input.facts;
    if facts.sections.is_empty() {
        let hint =
            "keep the section headers: do not use `sstrip`, and judge a packed file with `--stage packed`";
        return CheckResult::cannot_tell(EXPECTED, "no section headers", hint);
    }
    let mut problems = Problems::default();
    if !matches!(facts.kind, FileKind::Relocatable | FileKind::DebugFile) {
        sections::check(&facts.segments, &facts.sections, input.policy.is_static, &mut problems);
    }
    problems.result(EXPECTED)
}

fn unclaimed_bytes(input: &RuleInput) -> CheckResult {
    file_map::check(input.facts)
}

fn code_pointers(input: &RuleInput) -> CheckResult {
    code::check(input.facts)
}

fn debug_file_layout(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "the entry point, segments and sections of the debug file";
    let Some(debug) = input.evidence.debug_file else {
        return CheckResult::cannot_tell(EXPECTED, "no debug file", "pass it with `--debug-file FILE.debug`");
    };
    let mut problems = Problems::default();
    debug_file::check(input.facts, debug, &mut problems);
    problems.result(EXPECTED)
}

fn inner_headers(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "original headers that a loader accepts";
    on_inner(input, EXPECTED, |inner| {
        let mut problems = Problems::default();
        let program = input.facts.upx.as_ref().and_then(|upx| upx.program.as_ref());
        let scope = elf_header::Scope {
            file_bytes: program.map(|program| program.file_size_bytes.into()),
            sections: None,
            is_object: false,
            is_debug_file: false,
        };
        elf_header::check(&inner.header, &scope, &mut problems);
        program_headers::check(&inner.header, &inner.segments, input.policy.is_static, &mut problems);
        if let Some(bytes) = scope.file_bytes {
            program_headers::check_file_ranges(&inner.segments, bytes, &mut problems);
        }
        if entry_point::code_segment(&inner.header, &inner.segments).is_none() {
            problems.add(format_args!(
                "e_entry: expected an address in the file part of an executable PT_LOAD, found {:#x}",
                inner.header.entry
            ));
        }
        problems.result(EXPECTED)
    })
}
