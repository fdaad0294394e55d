//! Rules on what the kernel and the libc act upon when the program starts: ELF header and program headers.
//!
//! The functions on plain segments serve outer and inner headers alike.

use super::rules::{EVERY, OBJECT, PROGRAM, UNPACKED, WITH_CODE};
use super::{Case, Finding, Rule, Size, StackSize, list};
use crate::facts::{Facts, Form, Header, PT_INTERP, PT_LOAD, Segment, abi as abi_name, stack_segments};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "machine",
        stages: EVERY,
        demanded_by: "`machines`",
        catches: "a binary for another processor",
        why: "a wrong target in one build step ships a file that no host of the release can start",
        incident: "`exec format error` at the first start in production, after an image for arm64 was made with the binary for x86_64",
        peers: "auditwheel compares the machine with the platform tag of the wheel; checksec, LIEF and BinSkim show it",
        fix: "build with the `--target` of the release, and look at `readelf -h FILE`",
        is_demanded: |policy| !policy.machines.is_empty(),
        check: machine,
    },
    Rule {
        id: "stack-size",
        stages: PROGRAM,
        demanded_by: "`stack_size`: `exact`, `minimum`, `ceiling`",
        catches: "a PT_GNU_STACK that is missing, doubled, or whose size is not the promised one",
        why: "musl takes the default size of thread stacks from it, between 128 KiB and 8 MiB, and more than 8 MiB gives 8 MiB without a word; without it C threads get 128 KiB and crash when a library needs more",
        incident: "SIGSEGV in `cblas_sgemm` from a thread of a static musl program, because RUSTFLAGS in the environment had replaced the link flag; the same class as dotnet/runtime#92465, yara-x#666, libtorrent#694",
        peers: "none of them looks at the size; checksec and BinSkim (BA3002, BA3006) look at the flags of the same header",
        fix: "link with `-Wl,-z,stack-size=BYTES`; RUSTFLAGS in the environment silently replaces the flags in .cargo/config.toml",
        is_demanded: |policy| policy.stack_size.is_demanded(),
        check: stack_size,
    },
    Rule {
        id: "stack-not-executable",
        stages: WITH_CODE,
        demanded_by: "every policy, unless `allow_executable_stack`",
        catches: "a PT_GNU_STACK with the executable flag, or none at all; in an object file a missing or executable .note.GNU-stack",
        why: "one assembly file without a .note.GNU-stack section makes the stack of the whole process executable",
        incident: "Python wheels with an OpenBLAS of that kind, which glibc 2.41 refuses to load (auditwheel#634)",
        peers: "checksec (NX), LIEF (`has_nx`) and BinSkim (BA3002, BA3006) judge linked files; symcheck judges objects, archives and programs, as this rule does",
        fix: "find the object without .note.GNU-stack (`readelf -SW *.o`), or link with `-Wl,-z,noexecstack`",
        is_demanded: |policy| !policy.allow_executable_stack,
        check: stack_not_executable,
    },
    Rule {
        id: "no-writable-executable-segment",
        stages: WITH_CODE,
        demanded_by: "every policy, unless `allow_writable_executable_segments`",
        catches: "a PT_LOAD that is writable and executable; in an object file such a section",
        why: "it turns every stray write into code that can run",
        incident: "a linker script that put .text and .data into one segment: SELinux with `execmem` denied refused to start it, everybody else ran it unprotected",
        peers: "ld warns since binutils 2.39 (`LOAD segment with RWX permissions`); checksec and auditwheel do not look",
        fix: "drop `-N`/`--omagic` and linker scripts that merge .text and .data",
        is_demanded: |policy| !policy.allow_writable_executable_segments,
        check: no_writable_executable_segment,
    },
    Rule {
        id: "abi",
        stages: EVERY,
        demanded_by: "`abis`",
        catches: "another EI_OSABI than the allowed ones",
        why: "`gnu` says that the file uses extensions such as IFUNC that only glibc resolves; other numbers are other systems",
        incident: "a static library with IFUNC resolvers in a musl program: nobody runs the resolvers, and the first call goes nowhere",
        peers: "LIEF shows it; none judges it",
        fix: "find the object that brings IFUNC (`readelf -sW *.o | grep IFUNC`) and build it without",
        is_demanded: |policy| !policy.abis.is_empty(),
        check: abi,
    },
    Rule {
        id: "kind",
        stages: UNPACKED,
        demanded_by: "`kinds`",
        catches: "a program, library or object of another kind than promised",
        why: "ET_DYN is a library, a program with a loader, or one that relocates itself; a missing `-pie` costs address randomisation and a missing `-static` the empty image",
        incident: "static musl programs of Rust for aarch64 or x86_64 that became static-PIE, or ceased to be, with an update of the toolchain",
        peers: "checksec calls a static-PIE dynamic (checksec#309); `file` guesses; BinSkim's BA3001 wants PIE",
        fix: "`-static`, `-static-pie`, `-pie`, `-no-pie` on the link line; for Rust `-C relocation-model` and `-C target-feature=+crt-static`",
        is_demanded: |policy| !policy.kinds.is_empty(),
        check: kind,
    },
    Rule {
        id: "object-file",
        stages: OBJECT,
        demanded_by: "every policy",
        catches: "a file judged as an object that is linked already",
        why: "an object is judged by few rules: what a loader would act upon is not decided yet",
        incident: "a shared object called `helper.o` in a static library: the linker took it for a library that it needs",
        peers: "symcheck reads objects and programs alike; the others judge objects as if they were programs, or not at all",
        fix: "judge it without `--stage object`; link with `-r` where one object is to be made of many",
        is_demanded: |_| true,
        check: object_file,
    },
    Rule {
        id: "segment-align",
        stages: PROGRAM,
        demanded_by: "`segment_align_min`, `segment_align_max`",
        catches: "a PT_LOAD with a smaller or larger alignment than allowed",
        why: "less than the page of the kernel and the file does not load; more pads the file and breaks up huge mappings",
        incident: "libraries for Android aligned to 4 KiB, which do not load on devices with pages of 16 KiB",
        peers: "LIEF shows it; app stores check it; checksec, BinSkim and auditwheel do not",
        fix: "link with `-Wl,-z,max-page-size=BYTES`",
        is_demanded: |policy| policy.segment_align_min.is_some() || policy.segment_align_max.is_some(),
        check: segment_align,
    },
    Rule {
        id: "no-interpreter",
        stages: PROGRAM,
        demanded_by: "`is_static`",
        catches: "a PT_INTERP",
        why: "the file then needs a run-time loader that an empty image does not have",
        incident: "`no such file or directory` for a file that is there, after a build on Debian went into an image `FROM scratch`",
        peers: "`ldd` and `file` say it in words; LIEF shows it; nobody fails on it",
        fix: "link statically: `-C target-feature=+crt-static` for Rust, `-static` or `-static-pie` for C",
        is_demanded: |policy| policy.is_static,
        check: no_interpreter,
    },
    Rule {
        id: "no-needed",
        stages: PROGRAM,
        demanded_by: "`is_static`",
        catches: "a DT_NEEDED entry in any PT_DYNAMIC",
        why: "a shared library is needed that the release does not carry",
        incident: "a native dependency whose build script found `libssl.so` before `libssl.a`",
        peers: "`ldd` runs the loader, and reads one dynamic section; auditwheel resolves the graph",
        fix: "link the named library statically, or drop it",
        is_demanded: |policy| policy.is_static,
        check: no_needed,
    },
];

/// Machines on which linkers take an object without .note.GNU-stack for one that needs no executable stack.
const STACK_IS_DATA: [&str; 3] = ["aarch64", "riscv", "loongarch"];

fn machine(case: &Case) -> Finding {
    machine_of(case, &case.facts.header)
}

pub(super) fn machine_of(case: &Case, header: &Header) -> Finding {
    let allowed = &case.policy.machines;
    Finding::pass_if(allowed.contains(&header.machine), allowed.join(" or "), &header.machine)
}

fn abi(case: &Case) -> Finding {
    let (allowed, found) = (&case.policy.abis, abi_name(case.facts.header.os_abi));
    Finding::pass_if(allowed.contains(&found), allowed.join(" or "), found)
}

fn kind(case: &Case) -> Finding {
    let allowed = &case.policy.kinds;
    let names: Vec<&str> = allowed.iter().map(|form| form.name()).collect();
    let expected = names.join(" or ");
    let found = format!("{} ({})", case.facts.form.name(), case.facts.form_because);
    if case.facts.form == Form::Undecided && !allowed.contains(&Form::Undecided) {
        let hint =
            "link a program with `-pie`, which sets DF_1_PIE; give a library a name with `-Wl,-soname`";
        return Finding::cannot_tell(expected, found, hint);
    }
    Finding::pass_if(allowed.contains(&case.facts.form), expected, found)
}

fn object_file(case: &Case) -> Finding {
    let found = format!("{} ({})", case.facts.form.name(), case.facts.form_because);
    Finding::pass_if(case.facts.form == Form::Relocatable, Form::Relocatable.name(), found)
}

fn segment_align(case: &Case) -> Finding {
    let (min, max) = (case.policy.segment_align_min, case.policy.segment_align_max);
    let loads = case.facts.segments.iter().enumerate().filter(|(_, segment)| segment.kind_number == PT_LOAD);
    let is_wrong = |segment: &Segment| {
        min.is_some_and(|min| segment.align < min.0) || max.is_some_and(|max| segment.align > max.0)
    };
    let wrong = loads.clone().filter(|(_, segment)| is_wrong(segment));
    let wrong: Vec<String> =
        wrong.map(|(index, segment)| format!("segment {index} with {}", Size(segment.align))).collect();
    let found = match wrong.is_empty() {
        true => {
            let mut seen: Vec<u64> = loads.map(|(_, segment)| segment.align).collect();
            seen.sort_unstable();
            seen.dedup();
            list(&seen.into_iter().map(|align| Size(align).to_string()).collect::<Vec<_>>())
        }
        false => list(&wrong),
    };
    let bounds = [("at least", min), ("at most", max)];
    let bounds = bounds.into_iter().filter_map(|(bound, size)| Some(format!("{bound} {}", size?)));
    let expected = format!("alignment of PT_LOAD {}", bounds.collect::<Vec<_>>().join(", "));
    Finding::pass_if(wrong.is_empty(), expected, found)
}

fn stack_size(case: &Case) -> Finding {
    stack_size_of(case, &case.facts.segments)
}

pub(super) fn stack_size_of(case: &Case, segments: &[Segment]) -> Finding {
    let StackSize { exact, minimum, ceiling } = case.policy.stack_size;
    let bounds = [("", exact), ("at least ", minimum), ("at most ", ceiling)];
    let bounds = bounds.into_iter().filter_map(|(bound, bytes)| Some(format!("{bound}{}", size(bytes?.0))));
    let expected = format!("one PT_GNU_STACK of {}", bounds.collect::<Vec<_>>().join(", "));
    match stack_segments(segments)[..] {
        [only] => {
            let bytes = only.memory_size_bytes;
            let holds = exact.is_none_or(|exact| bytes == exact.0)
                && minimum.is_none_or(|minimum| bytes >= minimum.0)
                && ceiling.is_none_or(|ceiling| bytes <= ceiling.0);
            let above = ceiling.filter(|ceiling| bytes > ceiling.0);
            let given = above.map_or(String::new(), |ceiling| format!("; the libc gives {ceiling} at most"));
            Finding::pass_if(holds, expected, format!("one of {}{given}", size(bytes)))
        }
        [] => Finding::pass_if(false, expected, "no PT_GNU_STACK"),
        ref several => Finding::pass_if(false, expected, format!("{} of them", several.len())),
    }
}

fn stack_not_executable(case: &Case) -> Finding {
    if case.facts.form == Form::Relocatable {
        return stack_note_of_object(case.facts);
    }
    stack_not_executable_of(&case.facts.segments)
}

/// The linker takes the flag of the whole program from the notes of its objects.
fn stack_note_of_object(facts: &Facts) -> Finding {
    const EXPECTED: &str = ".note.GNU-stack without x";
    let note = facts.section(".note.GNU-stack");
    match note {
        Some(note) if note.is_executable() => Finding::pass_if(false, EXPECTED, ".note.GNU-stack with x"),
        Some(_) => Finding::pass_if(true, EXPECTED, "as expected"),
        None if STACK_IS_DATA.contains(&facts.header.machine.as_str()) => Finding::pass_if(
            true,
            EXPECTED,
            format!("no .note.GNU-stack; on {} that means no x", facts.header.machine),
        ),
        None => Finding::pass_if(false, EXPECTED, "no .note.GNU-stack").hint(
            "add `.section .note.GNU-stack,\"\",%progbits` to the assembly source, or assemble with `-Wa,--noexecstack`",
        ),
    }
}

pub(super) fn stack_not_executable_of(segments: &[Segment]) -> Finding {
    let stacks = stack_segments(segments);
    let flags: Vec<&str> = stacks.iter().map(|segment| segment.flags.as_str()).collect();
    let holds = !stacks.is_empty() && stacks.iter().all(|segment| !segment.is_executable());
    // Without the header the kernel falls back to an executable stack on most architectures.
    let found = if stacks.is_empty() { "no PT_GNU_STACK".into() } else { list(&flags) };
    Finding::pass_if(holds, "PT_GNU_STACK without x", found)
}

fn no_writable_executable_segment(case: &Case) -> Finding {
    if case.facts.form == Form::Relocatable {
        let both =
            case.facts.sections.iter().filter(|section| section.is_writable() && section.is_executable());
        return Finding::pass_if_none(
            both.map(|section| section.name.clone()).collect(),
            "no section with w and x",
        );
    }
    no_writable_executable_segment_of(&case.facts.segments)
}

pub(super) fn no_writable_executable_segment_of(segments: &[Segment]) -> Finding {
    let loads = segments.iter().enumerate().filter(|(_, segment)| segment.kind_number == PT_LOAD);
    let both = loads.filter(|(_, segment)| segment.is_writable() && segment.is_executable());
    let found: Vec<String> =
        both.map(|(index, segment)| format!("segment {index} ({})", segment.flags)).collect();
    Finding::pass_if(found.is_empty(), "no PT_LOAD with w and x", list(&found))
}

fn no_interpreter(case: &Case) -> Finding {
    let found = case.facts.interpreter.as_ref().map_or("none".into(), |name| format!("`{name}`"));
    let holds = !has_interpreter(&case.facts.segments);
    Finding::pass_if(holds, "no PT_INTERP", found)
}

pub(super) fn has_interpreter(segments: &[Segment]) -> bool {
    segments.iter().any(|segment| segment.kind_number == PT_INTERP)
}

fn no_needed(case: &Case) -> Finding {
    let needed = case.facts.dynamic.as_ref().map_or(&[][..], |dynamic| &dynamic.needed);
    Finding::pass_if_none(needed.to_vec(), "no DT_NEEDED")
}

/// Exact bytes first: a size that is one page off must not look right.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".into(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{bytes} bytes ({} MiB)", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{bytes} bytes ({} KiB)", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}
