//! Rules on the original program headers inside of a packed file, which the libc uses at run time.

use elf_facts::facts::{Segment, stack_segments};
use elf_facts::upx::{Inner, InnerHeaders};

use crate::policy::check_result::{CheckResult, list};
use crate::policy::rule::{RuleInput, rules};
use crate::policy::rules::packed::{NOT_PACKED, NOT_PACKED_HINT};
use crate::policy::rules::segments;

rules! {
    "inner-machine" at PACKED, enabled by "`machines`" if |policy| !policy.machines.is_empty() => inner_machine {
        detects: "a packed program for another processor",
        rationale: "the outer header describes the stub",
        incident: "a header was edited to show the expected machine",
        other_tools: "none of the other tools reads the inner headers of a packed file",
        fix: "pack the binary of the release target",
    }
    "inner-stack-size" at PACKED, enabled by "`stack_size`" if |policy| !policy.stack_size.is_empty() => inner_stack_size {
        detects: "original program headers whose PT_GNU_STACK has another size than required",
        rationale: "the stub passes the decompressed headers to the libc, so they determine the size of thread stacks, independent of the outer headers that readelf shows",
        incident: "the outer PT_GNU_STACK was set to 8 MiB after packing: readelf and `upx -t` report no problem, and threads get 128 KiB",
        other_tools: "none of the other tools reads the inner headers of a packed file",
        fix: "link with `-Wl,-z,stack-size=BYTES` and pack that file; editing the packed file changes nothing at run time",
    }
    "inner-stack-not-executable" at PACKED, enabled by "every policy, unless `allow_executable_stack`" if |policy| !policy.allow_executable_stack => inner_stack_not_executable {
        detects: "an executable stack in the original program headers",
        rationale: "see `stack-not-executable`; the outer flags are a copy",
        incident: "see `stack-not-executable`; the packer hides the flag",
        other_tools: "none of the other tools reads the inner headers of a packed file",
        fix: "link with `-Wl,-z,noexecstack` and pack again",
    }
    "inner-no-writable-executable-segment" at PACKED, enabled by "every policy, unless `allow_writable_executable_segments`" if |policy| !policy.allow_writable_executable_segments => inner_no_writable_executable_segment {
        detects: "a segment of the original that is writable and executable",
        rationale: "the stub maps the segments of the original with their original flags",
        incident: "see `no-writable-executable-segment`; the packer hides the segment",
        other_tools: "none of the other tools reads the inner headers of a packed file",
        fix: "remove `-N`/`--omagic` and linker scripts that merge .text and .data; pack again",
    }
    "inner-no-interpreter" at PACKED, enabled by "`is_static`" if |policy| policy.is_static => inner_no_interpreter {
        detects: "a PT_INTERP in the original program headers",
        rationale: "the outer headers of a packed dynamic program have no PT_INTERP, because the stub loads the interpreter itself",
        incident: "an image without a loader contained a packed dynamic program that `file` and `ldd` call static",
        other_tools: "`file` and `ldd` call the program static; none of the other tools reads the inner headers of a packed file",
        fix: "link statically and pack that file",
    }
    "outer-inner-agree" at PACKED, enabled by "every policy" if |_| true => outer_inner_agree {
        detects: "outer and inner headers that differ in type, machine, OS ABI or PT_GNU_STACK",
        rationale: "UPX copies these values, so a difference means that one side was edited",
        incident: "a stack size was written into the packed file instead of the linked file",
        other_tools: "none of the other tools reads the inner headers of a packed file",
        fix: "pack the stripped file again and do not edit the result",
    }
}

fn inner_machine(input: &RuleInput) -> CheckResult {
    on_inner(input, "the required machine", |inner| segments::machine(input.policy, &inner.header))
}

fn inner_stack_size(input: &RuleInput) -> CheckResult {
    on_inner(input, "one PT_GNU_STACK of the required size", |inner| {
        segments::stack_size(input.policy, &inner.segments)
    })
}

fn inner_stack_not_executable(input: &RuleInput) -> CheckResult {
    on_inner(input, "PT_GNU_STACK without x", |inner| segments::stack_not_executable(&inner.segments))
}

fn inner_no_writable_executable_segment(input: &RuleInput) -> CheckResult {
    on_inner(input, "no PT_LOAD with w and x", |inner| {
        segments::no_writable_executable_segment(&inner.segments)
    })
}

fn inner_no_interpreter(input: &RuleInput) -> CheckResult {
    on_inner(input, "no PT_INTERP", |inner| {
        let has_one = segments::has_interpreter(&inner.segments);
        CheckResult::pass_if(!has_one, "no PT_INTERP", if has_one { "a PT_INTERP" } else { "none" })
    })
}

fn outer_inner_agree(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "equal type, machine, OS ABI and PT_GNU_STACK outside and inside";
    on_inner(input, EXPECTED, |inner| {
        let outer = &input.facts.header;
        let mut wrong = Vec::new();
        if outer.elf_type != inner.header.elf_type {
            wrong.push(format!("type {:?} outside, {:?} inside", outer.elf_type, inner.header.elf_type));
        }
        if outer.os_abi != inner.header.os_abi {
            wrong.push(format!("OS ABI {} outside, {} inside", outer.os_abi, inner.header.os_abi));
        }
        if outer.machine_number != inner.header.machine_number {
            wrong.push(format!("machine {} outside, {} inside", outer.machine, inner.header.machine));
        }
        let (outside, inside) = (stacks(&input.facts.segments), stacks(&inner.segments));
        if outside != inside {
            wrong.push(format!("PT_GNU_STACK {} outside, {} inside", list(&outside), list(&inside)));
        }
        let found = if wrong.is_empty() { "equal".into() } else { wrong.join("; ") };
        CheckResult::pass_if(wrong.is_empty(), EXPECTED, found)
    })
}

fn stacks(segments: &[Segment]) -> Vec<String> {
    let stacks = stack_segments(segments);
    stacks.iter().map(|stack| format!("{} {:#x}", stack.flags, stack.memory_size_bytes)).collect()
}

pub(super) fn on_inner<'a>(
    input: &RuleInput<'a>,
    expected: &str,
    check: impl Fn(&'a InnerHeaders) -> CheckResult,
) -> CheckResult {
    match input.facts.upx.as_ref().map(|upx| &upx.inner) {
        Some(Inner::Read(inner)) => check(inner),
        // The stub would still run the file, with unknown headers.
        Some(Inner::Unreadable(problem)) => {
            CheckResult::pass_if(false, expected, format!("unreadable inner headers: {problem}"))
        }
        None => CheckResult::cannot_tell(expected, NOT_PACKED, NOT_PACKED_HINT),
    }
}
