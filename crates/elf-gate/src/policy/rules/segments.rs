//! Checks of plain headers, for the outer and the inner headers of packed files.

use elf_facts::facts::{Header, PT_INTERP, PT_LOAD, Segment, stack_segments};
use units::ByteSize;

use crate::policy::check_result::{CheckResult, list};
use crate::policy::schema::{Policy, StackSize};

/// `e_machine` is allowed.
pub(super) fn machine(policy: &Policy, header: &Header) -> CheckResult {
    let allowed = &policy.machines;
    CheckResult::pass_if(allowed.contains(&header.machine), allowed.join(" or "), &header.machine)
}

/// PT_GNU_STACK has a size within the bounds.
pub(super) fn stack_size(policy: &Policy, segments: &[Segment]) -> CheckResult {
    let StackSize { exact, minimum, ceiling } = policy.stack_size;
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
            let limit = above.map_or(String::new(), |ceiling| format!("; the libc gives at most {ceiling}"));
            CheckResult::pass_if(holds, expected, format!("one of {}{limit}", size(bytes)))
        }
        [] => CheckResult::pass_if(false, expected, "no PT_GNU_STACK"),
        ref several => CheckResult::pass_if(false, expected, format!("{} PT_GNU_STACK", several.len())),
    }
}

/// PT_GNU_STACK exists without `x`.
pub(super) fn stack_not_executable(segments: &[Segment]) -> CheckResult {
    let stacks = stack_segments(segments);
    let flags: Vec<&str> = stacks.iter().map(|segment| segment.flags.as_str()).collect();
    let holds = !stacks.is_empty() && stacks.iter().all(|segment| !segment.is_executable());
    // Without the header most architectures use an executable stack.
    let found = if stacks.is_empty() { "no PT_GNU_STACK".into() } else { list(&flags) };
    CheckResult::pass_if(holds, "PT_GNU_STACK without x", found)
}

/// No PT_LOAD has `w` and `x`.
pub(super) fn no_writable_executable_segment(segments: &[Segment]) -> CheckResult {
    let loads = segments.iter().enumerate().filter(|(_, segment)| segment.kind_number == PT_LOAD);
    let both = loads.filter(|(_, segment)| segment.is_writable() && segment.is_executable());
    let found: Vec<String> =
        both.map(|(index, segment)| format!("segment {index} ({})", segment.flags)).collect();
    CheckResult::pass_if(found.is_empty(), "no PT_LOAD with w and x", list(&found))
}

/// Whether the policy bounds the alignment of PT_LOAD.
pub(super) fn has_alignment_bounds(policy: &Policy) -> bool {
    policy.segment_align_min.is_some()
        || policy.segment_align_max.is_some()
        || !policy.segment_align_min_by_machine.is_empty()
}

/// Each PT_LOAD has an alignment within the bounds.
pub(super) fn alignment(policy: &Policy, header: &Header, segments: &[Segment]) -> CheckResult {
    // A file for another machine than allowed violates `machine`; this rule would only repeat that.
    let is_allowed = policy.machines.is_empty() || policy.machines.contains(&header.machine);
    let of_machine = policy.segment_align_min_by_machine.get(&header.machine).filter(|_| is_allowed).copied();
    let (min, max) = (policy.segment_align_min.max(of_machine), policy.segment_align_max);
    let loads = segments.iter().enumerate().filter(|(_, segment)| segment.kind_number == PT_LOAD);
    let is_outside = |segment: &Segment| {
        min.is_some_and(|min| segment.align < min.0) || max.is_some_and(|max| segment.align > max.0)
    };
    let wrong = loads.clone().filter(|(_, segment)| is_outside(segment));
    let wrong: Vec<String> =
        wrong.map(|(index, segment)| format!("segment {index} with {}", ByteSize(segment.align))).collect();
    let found = match wrong.is_empty() {
        true => {
            let mut seen: Vec<u64> = loads.map(|(_, segment)| segment.align).collect();
            seen.sort_unstable();
            seen.dedup();
            list(&seen.into_iter().map(|align| ByteSize(align).to_string()).collect::<Vec<_>>())
        }
        false => list(&wrong),
    };
    let bounds = [("at least", min), ("at most", max)];
    let bounds = bounds.into_iter().filter_map(|(bound, size)| Some(format!("{bound} {}", size?)));
    let bounds: Vec<String> = bounds.collect();
    let bounds = if bounds.is_empty() { "any".into() } else { bounds.join(", ") };
    CheckResult::pass_if(wrong.is_empty(), format!("alignment of PT_LOAD {bounds}"), found)
}

/// A PT_INTERP exists.
pub(super) fn has_interpreter(segments: &[Segment]) -> bool {
    segments.iter().any(|segment| segment.kind_number == PT_INTERP)
}

/// Exact bytes first, so that a difference of one page is visible.
fn size(bytes: u64) -> String {
    match bytes {
        0 => "0 bytes".into(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{bytes} bytes ({} MiB)", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{bytes} bytes ({} KiB)", bytes >> 10),
        _ => format!("{bytes} bytes"),
    }
}
