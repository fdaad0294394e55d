//! Rules on the original program headers inside of a packed file: the ones that the program gets to see.

use super::packed::{NOT_PACKED, NOT_PACKED_HINT};
use super::rules::PACKED;
use super::{Case, Finding, Rule, list, load};
use crate::facts::Segment;
use crate::upx::{Inner, InnerHeaders};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "inner-machine",
        stages: PACKED,
        demanded_by: "`machines`",
        catches: "a packed program for another processor",
        why: "the outer header belongs to the stub",
        incident: "a header edited by hand to look right",
        peers: "none of them looks inside of a packed file",
        fix: "pack the binary of this release's target",
        is_demanded: |policy| !policy.machines.is_empty(),
        check: inner_machine,
    },
    Rule {
        id: "inner-stack-size",
        stages: PACKED,
        demanded_by: "`stack_size`",
        catches: "original program headers whose PT_GNU_STACK does not have the promised size",
        why: "the stub points the libc at the decompressed headers, so these decide over the thread stacks, whatever readelf shows of the packed file",
        incident: "the outer PT_GNU_STACK set to 8 MiB after packing: readelf and `upx -t` are content, and threads get 128 KiB",
        peers: "none of them looks inside of a packed file",
        fix: "link with `-Wl,-z,stack-size=BYTES` and pack that file; editing the packed file changes nothing at run time",
        is_demanded: |policy| policy.stack_size.is_demanded(),
        check: inner_stack_size,
    },
    Rule {
        id: "inner-stack-not-executable",
        stages: PACKED,
        demanded_by: "every policy, unless `allow_executable_stack`",
        catches: "an executable stack in the original program headers",
        why: "see `stack-not-executable`; the outer flags are only a copy",
        incident: "as `stack-not-executable`, hidden by a packer",
        peers: "none of them looks inside of a packed file",
        fix: "link with `-Wl,-z,noexecstack` and pack again",
        is_demanded: |policy| !policy.allow_executable_stack,
        check: inner_stack_not_executable,
    },
    Rule {
        id: "inner-no-writable-executable-segment",
        stages: PACKED,
        demanded_by: "every policy, unless `allow_writable_executable_segments`",
        catches: "a segment of the original that is writable and executable",
        why: "the stub maps the original's segments with the original's flags",
        incident: "as `no-writable-executable-segment`, hidden by a packer",
        peers: "none of them looks inside of a packed file",
        fix: "drop `-N`/`--omagic` and linker scripts that merge .text and .data; pack again",
        is_demanded: |policy| !policy.allow_writable_executable_segments,
        check: inner_no_writable_executable_segment,
    },
    Rule {
        id: "inner-no-interpreter",
        stages: PACKED,
        demanded_by: "`is_static`",
        catches: "a PT_INTERP in the original program headers",
        why: "the outer headers have none even when a dynamic program was packed: the stub loads the interpreter itself",
        incident: "a packed dynamic program that `file` and `ldd` call static, in an image without a loader",
        peers: "`file` and `ldd` are wrong about it; none of them looks inside of a packed file",
        fix: "link statically and pack that file",
        is_demanded: |policy| policy.is_static,
        check: inner_no_interpreter,
    },
    Rule {
        id: "outer-inner-agree",
        stages: PACKED,
        demanded_by: "every policy",
        catches: "outer and inner headers that differ in type, machine, OS ABI or PT_GNU_STACK",
        why: "UPX copies them, so a difference means that one side was edited afterwards",
        incident: "a stack size that was patched into the packed file instead of the linked one",
        peers: "none of them looks inside of a packed file",
        fix: "pack the stripped file again and do not edit the result",
        is_demanded: |_| true,
        check: outer_inner_agree,
    },
];

fn inner_machine(case: &Case) -> Finding {
    on_inner(case, "the promised machine", |inner| load::machine_of(case, &inner.header))
}

fn inner_stack_size(case: &Case) -> Finding {
    on_inner(case, "one PT_GNU_STACK of the promised size", |inner| {
        load::stack_size_of(case, &inner.segments)
    })
}

fn inner_stack_not_executable(case: &Case) -> Finding {
    on_inner(case, "PT_GNU_STACK without x", |inner| load::stack_not_executable_of(&inner.segments))
}

fn inner_no_writable_executable_segment(case: &Case) -> Finding {
    on_inner(case, "no PT_LOAD with w and x", |inner| {
        load::no_writable_executable_segment_of(&inner.segments)
    })
}

fn inner_no_interpreter(case: &Case) -> Finding {
    on_inner(case, "no PT_INTERP", |inner| {
        let has_one = load::has_interpreter(&inner.segments);
        Finding::pass_if(!has_one, "no PT_INTERP", if has_one { "a PT_INTERP" } else { "none" })
    })
}

fn outer_inner_agree(case: &Case) -> Finding {
    const EXPECTED: &str = "the same type, machine and PT_GNU_STACK outside and inside";
    on_inner(case, EXPECTED, |inner| {
        let outer = &case.facts.header;
        let mut wrong = Vec::new();
        if outer.kind != inner.header.kind {
            wrong.push(format!("type {:?} outside, {:?} inside", outer.kind, inner.header.kind));
        }
        if outer.os_abi != inner.header.os_abi {
            wrong.push(format!("OS ABI {} outside, {} inside", outer.os_abi, inner.header.os_abi));
        }
        if outer.machine_number != inner.header.machine_number {
            wrong.push(format!("machine {} outside, {} inside", outer.machine, inner.header.machine));
        }
        let (outside, inside) = (stacks(&case.facts.segments), stacks(&inner.segments));
        if outside != inside {
            wrong.push(format!("PT_GNU_STACK {} outside, {} inside", list(&outside), list(&inside)));
        }
        let found = if wrong.is_empty() { "the same".into() } else { wrong.join("; ") };
        Finding::pass_if(wrong.is_empty(), EXPECTED, found)
    })
}

fn stacks(segments: &[Segment]) -> Vec<String> {
    let stacks = crate::facts::stack_segments(segments);
    stacks.iter().map(|stack| format!("{} {:#x}", stack.flags, stack.memory_size_bytes)).collect()
}

fn on_inner<'a>(case: &Case<'a>, expected: &str, check: impl Fn(&'a InnerHeaders) -> Finding) -> Finding {
    match case.facts.upx.as_ref().map(|upx| &upx.inner) {
        Some(Inner::Read(inner)) => check(inner),
        // UPX's stub would run something from this file, and nobody can say what.
        Some(Inner::Unreadable(problem)) => {
            Finding::pass_if(false, expected, format!("unreadable inner headers: {problem}"))
        }
        None => Finding::cannot_tell(expected, NOT_PACKED, NOT_PACKED_HINT),
    }
}
