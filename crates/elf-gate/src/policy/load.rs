//! Rules on what the kernel and the libc act upon when the program starts: ELF header and program headers.
//!
//! The functions on plain segments serve outer and inner headers alike.

use super::{Case, Finding, Size, StackSize, list};
use crate::facts::{Facts, Form, Header, PT_INTERP, PT_LOAD, Segment, abi as abi_name, stack_segments};

/// Machines on which linkers take an object without .note.GNU-stack for one that needs no executable stack.
const STACK_IS_DATA: [&str; 3] = ["aarch64", "riscv", "loongarch"];

pub(super) fn machine(case: &Case) -> Finding {
    machine_of(case, &case.facts.header)
}

pub(super) fn machine_of(case: &Case, header: &Header) -> Finding {
    let allowed = &case.policy.machines;
    Finding::pass_if(allowed.contains(&header.machine), allowed.join(" or "), &header.machine)
}

pub(super) fn abi(case: &Case) -> Finding {
    let (allowed, found) = (&case.policy.abis, abi_name(case.facts.header.os_abi));
    Finding::pass_if(allowed.contains(&found), allowed.join(" or "), found)
}

pub(super) fn kind(case: &Case) -> Finding {
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

pub(super) fn segment_align(case: &Case) -> Finding {
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

pub(super) fn stack_size(case: &Case) -> Finding {
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

pub(super) fn stack_not_executable(case: &Case) -> Finding {
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

pub(super) fn no_writable_executable_segment(case: &Case) -> Finding {
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

pub(super) fn no_interpreter(case: &Case) -> Finding {
    let found = case.facts.interpreter.as_ref().map_or("none".into(), |name| format!("`{name}`"));
    let holds = !has_interpreter(&case.facts.segments);
    Finding::pass_if(holds, "no PT_INTERP", found)
}

pub(super) fn has_interpreter(segments: &[Segment]) -> bool {
    segments.iter().any(|segment| segment.kind_number == PT_INTERP)
}

pub(super) fn no_needed(case: &Case) -> Finding {
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
