//! Rules on the ELF header and the program headers, which the kernel and the libc use at the start of a program.

use elf_facts::facts::{self, Facts, FileKind, PT_TLS};
use units::ByteSize;

use crate::policy::check_result::CheckResult;
use crate::policy::rule::{RuleInput, rules};
use crate::policy::rules::segments;

rules! {
    "machine" at EVERY, enabled by "`machines`" if |policy| !policy.machines.is_empty() => machine {
        detects: "a binary for another processor",
        rationale: "a wrong target in one build step produces a file that no host of the release can start",
        incident: "an image for arm64 contained the binary for x86_64, and failed in production with `exec format error`",
        other_tools: "auditwheel compares the machine with the platform tag of the wheel; checksec, LIEF and BinSkim show it",
        fix: "build with the `--target` of the release; `readelf -h FILE` shows the machine",
    }
    "stack-size" at PROGRAM, enabled by "`stack_size`: `exact`, `minimum`, `ceiling`" if |policy| !policy.stack_size.is_empty() => stack_size {
        detects: "a PT_GNU_STACK that is missing, duplicated, or of another size than required",
        rationale: "musl takes the default size of thread stacks from it, at least 128 KiB and at most 8 MiB; without it C threads get 128 KiB and crash when a library needs more",
        incident: "a thread of a static musl program crashed in `cblas_sgemm`, because RUSTFLAGS in the environment had replaced the link flag; compare dotnet/runtime#92465, yara-x#666, libtorrent#694",
        other_tools: "none checks the size; checksec and BinSkim (BA3002, BA3006) check the flags of the same header",
        fix: "link with `-Wl,-z,stack-size=BYTES`; RUSTFLAGS in the environment replaces the flags in .cargo/config.toml",
    }
    "stack-not-executable" at WITH_CODE, enabled by "every policy, unless `allow_executable_stack`" if |policy| !policy.allow_executable_stack => stack_not_executable {
        detects: "a missing or executable PT_GNU_STACK; in an object file a missing or executable .note.GNU-stack",
        rationale: "one assembly file without a .note.GNU-stack section makes the stack of the whole process executable",
        incident: "glibc 2.41 rejects Python wheels with such an OpenBLAS (auditwheel#634)",
        other_tools: "checksec (NX), LIEF (`has_nx`) and BinSkim (BA3002, BA3006) judge linked files; symcheck judges objects, archives and programs, as this rule does",
        fix: "find the object without .note.GNU-stack (`readelf -SW *.o`), or link with `-Wl,-z,noexecstack`",
    }
    "no-writable-executable-segment" at WITH_CODE, enabled by "every policy, unless `allow_writable_executable_segments`" if |policy| !policy.allow_writable_executable_segments => no_writable_executable_segment {
        detects: "a PT_LOAD that is writable and executable; in an object file such a section",
        rationale: "every stray write into it can become executable code",
        incident: "a linker script put .text and .data into one segment: SELinux without `execmem` rejected the program, other systems ran it unprotected",
        other_tools: "ld warns since binutils 2.39 (`LOAD segment with RWX permissions`); checksec and auditwheel ignore it",
        fix: "remove `-N`/`--omagic` and linker scripts that merge .text and .data",
    }
    "abi" at EVERY, enabled by "`abis`" if |policy| !policy.abis.is_empty() => abi {
        detects: "an EI_OSABI that is not allowed",
        rationale: "`gnu` means that the file uses extensions such as IFUNC, which only glibc resolves; other numbers mean other systems",
        incident: "a musl program with a static library that uses IFUNC crashed at the first call, because musl does not run the resolvers",
        other_tools: "LIEF shows it; none fails",
        fix: "find the object with IFUNC (`readelf -sW *.o | grep IFUNC`) and disable it there",
    }
    "kind" at UNPACKED, enabled by "`kinds`" if |policy| !policy.kinds.is_empty() => kind {
        detects: "a file of another kind than required",
        rationale: "ET_DYN is a library, a program with a loader, or a program that relocates itself; without `-pie` addresses are not randomised, and without `-static` the program does not run in an empty image",
        incident: "toolchain updates changed static musl programs of Rust from fixed-address to static-PIE and back",
        other_tools: "checksec calls a static-PIE dynamic (checksec#309); `file` guesses; BinSkim (BA3001) requires PIE",
        fix: "use `-static`, `-static-pie`, `-pie` or `-no-pie` on the link line; for Rust `-C relocation-model` and `-C target-feature=+crt-static`",
    }
    "object-file" at OBJECT, enabled by "every policy" if |_| true => object_file {
        detects: "a linked file judged as an object",
        rationale: "few rules apply to objects, because the linker decides the properties that a loader uses",
        incident: "a static library contained a shared object named `helper.o`, which the linker added to DT_NEEDED",
        other_tools: "symcheck reads objects and programs; the other tools judge objects like programs, or not at all",
        fix: "judge it without `--stage object`; link with `-r` to combine several objects into one",
    }
    "segment-align" at PROGRAM, enabled by "`segment_align_min`, `segment_align_min_by_machine`, `segment_align_max`" if segments::has_alignment_bounds => segment_align {
        detects: "a PT_LOAD with a smaller or larger alignment than allowed",
        rationale: "with an alignment below the page size of the kernel the file does not load; a larger one pads the file and splits huge mappings",
        incident: "Android libraries with an alignment of 4 KiB do not load on devices with 16 KiB pages; packed programs for aarch64 did not load on kernels with 64 KiB pages (upx/upx#737)",
        other_tools: "LIEF shows it; app stores check it; checksec, BinSkim and auditwheel ignore it",
        fix: "link with `-Wl,-z,max-page-size=BYTES`",
    }
    "tls-size" at UNPACKED, enabled by "`tls_size_max`" if |policy| policy.tls_size_max.is_some() => tls_size {
        detects: "thread-local variables of more bytes than allowed",
        rationale: "every thread has a copy, and musl takes it from the mapping of the stack; a preloaded library must fit into a small reserve of the libc",
        incident: "an allocator with a large block of `initial-exec` variables could not be loaded: `cannot allocate memory in static TLS block` (firezone#13909)",
        other_tools: "`readelf -lW` shows the size; none fails",
        fix: "find large variables with `nm -S FILE | grep -i ' [bd] '` and `readelf -sW FILE | grep TLS`, and allocate them at run time",
    }
    "no-interpreter" at PROGRAM, enabled by "`is_static`" if |policy| policy.is_static => no_interpreter {
        detects: "a PT_INTERP",
        rationale: "the file needs a run-time loader, which an empty image does not have",
        incident: "a program built on Debian failed in an image `FROM scratch` with `no such file or directory`, although the file existed",
        other_tools: "`ldd`, `file` and LIEF show it; none fails",
        fix: "link statically: `-C target-feature=+crt-static` for Rust, `-static` or `-static-pie` for C",
    }
    "no-needed" at PROGRAM, enabled by "`is_static`" if |policy| policy.is_static => no_needed {
        detects: "a DT_NEEDED entry in any PT_DYNAMIC",
        rationale: "the program needs a shared library that the release does not contain",
        incident: "the build script of a native dependency found `libssl.so` before `libssl.a`",
        other_tools: "`ldd` runs the loader and reads one dynamic section; auditwheel resolves the dependency graph",
        fix: "link the named library statically, or remove it",
    }
}

/// Machines on which an object without .note.GNU-stack does not request an executable stack.
const STACK_IS_DATA: [&str; 3] = ["aarch64", "riscv", "loongarch"];

fn machine(input: &RuleInput) -> CheckResult {
    segments::machine(input.policy, &input.facts.header)
}

fn abi(input: &RuleInput) -> CheckResult {
    let (allowed, found) = (&input.policy.abis, facts::abi(input.facts.header.os_abi));
    CheckResult::pass_if(allowed.contains(&found), allowed.join(" or "), found)
}

fn kind(input: &RuleInput) -> CheckResult {
    let allowed = &input.policy.kinds;
    let names: Vec<&str> = allowed.iter().map(|kind| kind.name()).collect();
    let expected = names.join(" or ");
    let found = format!("{} ({})", input.facts.kind.name(), input.facts.kind_reason);
    if input.facts.kind == FileKind::Undecided && !allowed.contains(&FileKind::Undecided) {
        let hint =
            "link a program with `-pie`, which sets DF_1_PIE; set the name of a library with `-Wl,-soname`";
        return CheckResult::cannot_tell(expected, found, hint);
    }
    CheckResult::pass_if(allowed.contains(&input.facts.kind), expected, found)
}

fn object_file(input: &RuleInput) -> CheckResult {
    let found = format!("{} ({})", input.facts.kind.name(), input.facts.kind_reason);
    CheckResult::pass_if(input.facts.kind == FileKind::Relocatable, FileKind::Relocatable.name(), found)
}

fn segment_align(input: &RuleInput) -> CheckResult {
    segments::alignment(input.policy, &input.facts.header, &input.facts.segments)
}

/// The size in memory: most of it is `.tbss`, which has no bytes in the file.
fn tls_size(input: &RuleInput) -> CheckResult {
    let max = input.policy.tls_size_max.unwrap_or(ByteSize(u64::MAX));
    let blocks = input.facts.segments.iter().filter(|segment| segment.kind_number == PT_TLS);
    let bytes = blocks.map(|segment| segment.memory_size_bytes).fold(0, u64::saturating_add);
    let expected = format!("PT_TLS of at most {} bytes ({max})", max.0);
    CheckResult::pass_if(bytes <= max.0, expected, format!("{bytes} bytes"))
}

fn stack_size(input: &RuleInput) -> CheckResult {
    segments::stack_size(input.policy, &input.facts.segments)
}

fn stack_not_executable(input: &RuleInput) -> CheckResult {
    if input.facts.kind == FileKind::Relocatable {
        return stack_note_of_object(input.facts);
    }
    segments::stack_not_executable(&input.facts.segments)
}

/// The linker derives the flag of the program from the notes of its objects.
fn stack_note_of_object(facts: &Facts) -> CheckResult {
    const EXPECTED: &str = ".note.GNU-stack without x";
    let note = facts.section(".note.GNU-stack");
    match note {
        Some(note) if note.is_executable() => CheckResult::pass_if(false, EXPECTED, ".note.GNU-stack with x"),
        Some(_) => CheckResult::pass_if(true, EXPECTED, "as expected"),
        None if STACK_IS_DATA.contains(&facts.header.machine.as_str()) => CheckResult::pass_if(
            true,
            EXPECTED,
            format!("no .note.GNU-stack, which means no x on {}", facts.header.machine),
        ),
        None => CheckResult::pass_if(false, EXPECTED, "no .note.GNU-stack").hint(
            "add `.section .note.GNU-stack,\"\",%progbits` to the assembly source, or assemble with `-Wa,--noexecstack`",
        ),
    }
}

fn no_writable_executable_segment(input: &RuleInput) -> CheckResult {
    if input.facts.kind == FileKind::Relocatable {
        let both =
            input.facts.sections.iter().filter(|section| section.is_writable() && section.is_executable());
        return CheckResult::pass_if_none(
            both.map(|section| section.name.clone()).collect(),
            "no section with w and x",
        );
    }
    segments::no_writable_executable_segment(&input.facts.segments)
}

fn no_interpreter(input: &RuleInput) -> CheckResult {
    let found = input.facts.interpreter.as_ref().map_or("none".into(), |name| format!("`{name}`"));
    let holds = !segments::has_interpreter(&input.facts.segments);
    CheckResult::pass_if(holds, "no PT_INTERP", found)
}

fn no_needed(input: &RuleInput) -> CheckResult {
    let needed = input.facts.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.needed);
    CheckResult::pass_if_none(needed.to_vec(), "no DT_NEEDED")
}
