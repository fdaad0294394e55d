//! Rules on packed files. The outer headers are judged by the same rules as ever; these judge what UPX wrapped.

use super::{Case, Finding, list, load};
use crate::facts::Segment;
use crate::upx::{Inner, InnerHeaders, UpxFacts, method_name};

/// What this reader was checked against: UPX 3.96 (13) and 4.2 (14), linux/amd64 and linux/arm64.
const KNOWN_VERSIONS: [u8; 2] = [13, 14];
const KNOWN_FORMATS: [u8; 2] = [22, 42];
const NOT_PACKED: &str = "no mark of UPX";
const NOT_PACKED_HINT: &str = "pack the file with UPX 4.2.x, or judge it with `--stage stripped`";

pub(super) fn by_upx(case: &Case) -> Finding {
    const EXPECTED: &str = "packed by UPX 3.96 or 4.x for linux/amd64 or linux/arm64";
    let Some(upx) = &case.facts.upx else { return Finding::pass_if(false, EXPECTED, NOT_PACKED) };
    let Some(loader) = &upx.loader else {
        return Finding::cannot_tell(
            EXPECTED,
            "a UPX trailer without `l_info`",
            "pack the stripped file again",
        );
    };
    let found = format!("version {}, format {}", loader.version, loader.format);
    if !KNOWN_VERSIONS.contains(&loader.version) || !KNOWN_FORMATS.contains(&loader.format) {
        return Finding::cannot_tell(EXPECTED, found, NOT_PACKED_HINT);
    }
    let method = upx.pack_header.as_ref().map_or("unknown method".into(), |pack| method_name(pack.method));
    Finding::pass_if(true, EXPECTED, format!("{found}, {method}"))
}

pub(super) fn structure(case: &Case) -> Finding {
    on_upx(case, "headers, blocks and trailer that fit together", |upx, expected| {
        let found = match upx.problems.is_empty() {
            true => format!(
                "{} blocks, {} bytes unpacked",
                upx.blocks.len(),
                upx.program.as_ref().map_or(0, |p| p.file_size_bytes)
            ),
            false => {
                let problems: Vec<String> = upx.problems.iter().map(ToString::to_string).collect();
                problems.join("; ")
            }
        };
        Finding::pass_if(upx.problems.is_empty(), expected, found)
    })
}

pub(super) fn stub_checksum(case: &Case) -> Finding {
    on_upx(case, "l_checksum = Adler-32 of the stub", |upx, expected| {
        let Some(loader) = &upx.loader else { return Finding::pass_if(false, expected, "no `l_info`") };
        let Some(found) = loader.stub_adler_found else {
            return Finding::pass_if(false, expected, "a stub that is not where the entry point says");
        };
        sums(expected, loader.stub_adler, found)
    })
}

pub(super) fn data_checksum(case: &Case) -> Finding {
    on_upx(case, "c_adler = Adler-32 of the compressed blocks", |upx, expected| {
        match (&upx.pack_header, upx.compressed_adler_found) {
            (Some(pack), Some(found)) => sums(expected, pack.compressed_adler, found),
            (None, _) => Finding::pass_if(false, expected, "no trailer that holds it"),
            (_, None) => Finding::pass_if(false, expected, "no blocks"),
        }
    })
}

fn sums(expected: &str, stored: u32, found: u32) -> Finding {
    let text = match stored == found {
        true => format!("{stored:08x}"),
        false => format!("{stored:08x} stored, {found:08x} of the bytes"),
    };
    Finding::pass_if(stored == found, expected, text)
}

pub(super) fn inner_machine(case: &Case) -> Finding {
    on_inner(case, "the promised machine", |inner| load::machine_of(case, &inner.header))
}

pub(super) fn inner_stack_size(case: &Case) -> Finding {
    on_inner(case, "one PT_GNU_STACK of the promised size", |inner| {
        load::stack_size_of(case, &inner.segments)
    })
}

pub(super) fn inner_stack_not_executable(case: &Case) -> Finding {
    on_inner(case, "PT_GNU_STACK without x", |inner| load::stack_not_executable_of(&inner.segments))
}

pub(super) fn inner_no_writable_executable_segment(case: &Case) -> Finding {
    on_inner(case, "no PT_LOAD with w and x", |inner| {
        load::no_writable_executable_segment_of(&inner.segments)
    })
}

pub(super) fn inner_no_interpreter(case: &Case) -> Finding {
    on_inner(case, "no PT_INTERP", |inner| {
        let has_one = load::has_interpreter(&inner.segments);
        Finding::pass_if(!has_one, "no PT_INTERP", if has_one { "a PT_INTERP" } else { "none" })
    })
}

pub(super) fn outer_inner_agree(case: &Case) -> Finding {
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

pub(super) fn round_trip(case: &Case) -> Finding {
    const EXPECTED: &str = "unpacks to the bytes of its parent";
    let Some(parent) = case.evidence.parent_sha256 else {
        let hint = "give the stripped file that was packed with `--parent FILE`";
        return Finding::cannot_tell(EXPECTED, "no parent given", hint);
    };
    let unpacked = match case.evidence.unpacked_sha256 {
        None => {
            return Finding::cannot_tell(
                EXPECTED,
                "not unpacked",
                "unpack it with `upx -d -o OUT FILE` and give its digest",
            );
        }
        Some(Err(reason)) => {
            return Finding::pass_if(false, EXPECTED, format!("it does not unpack: {reason}"));
        }
        Some(Ok(digest)) => digest,
    };
    if unpacked != parent {
        let found = format!("{} unpacked, {} of the parent", short(unpacked), short(parent));
        return Finding::pass_if(false, EXPECTED, found);
    }
    // Equal digests with facts that differ would mean that one of the two was not taken from these files.
    let promised =
        case.facts.upx.as_ref().and_then(|upx| upx.program.as_ref()).map(|p| u64::from(p.file_size_bytes));
    if let (Some(parent), Some(promised)) = (case.evidence.parent, promised)
        && parent.size_bytes != promised
    {
        let found =
            format!("equal digests, but {promised} bytes promised and {} in the parent", parent.size_bytes);
        return Finding::pass_if(false, EXPECTED, found);
    }
    Finding::pass_if(true, EXPECTED, format!("sha256 {} on both sides", short(unpacked)))
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// A file that is not packed at all is reported once, by `packed-by-upx`; here nothing can be told about it.
fn on_upx<'a>(
    case: &Case<'a>,
    expected: &'static str,
    check: impl Fn(&'a UpxFacts, &str) -> Finding,
) -> Finding {
    match &case.facts.upx {
        Some(upx) => check(upx, expected),
        None => Finding::cannot_tell(expected, NOT_PACKED, NOT_PACKED_HINT),
    }
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
