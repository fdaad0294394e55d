//! Rules on what the kernel and the libc act upon when the program starts: ELF header and program headers.
//!
//! The functions on plain segments serve outer and inner headers alike.

use super::{Case, Finding, list};
use crate::facts::{Header, PT_INTERP, PT_LOAD, Segment, stack_segments};

pub(super) fn machine(case: &Case) -> Finding {
    machine_of(case, &case.facts.header)
}

pub(super) fn machine_of(case: &Case, header: &Header) -> Finding {
    let expected = case.policy.machine.as_deref().unwrap_or_default();
    Finding::pass_if(header.machine == expected, expected, &header.machine)
}

pub(super) fn stack_size(case: &Case) -> Finding {
    stack_size_of(case, &case.facts.segments)
}

pub(super) fn stack_size_of(case: &Case, segments: &[Segment]) -> Finding {
    let promised = case.policy.stack_size_bytes.unwrap_or_default();
    let expected = format!("one PT_GNU_STACK of {}", size(promised));
    match stack_segments(segments)[..] {
        [only] => {
            let found = format!("one of {}", size(only.memory_size_bytes));
            Finding::pass_if(only.memory_size_bytes == promised, expected, found)
        }
        [] => Finding::pass_if(false, expected, "no PT_GNU_STACK"),
        ref several => Finding::pass_if(false, expected, format!("{} of them", several.len())),
    }
}

pub(super) fn stack_not_executable(case: &Case) -> Finding {
    stack_not_executable_of(&case.facts.segments)
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
    Finding::pass_if(needed.is_empty(), "no DT_NEEDED", list(needed))
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
