//! Rules on the structures of UPX, and on what comes out of them. The outer headers are judged by the same rules as ever,
//! the inner ones by those of `inner`.

use super::rules::PACKED;
use super::{Case, Finding, Rule};
use crate::upx::{LINUX_AMD64, LINUX_ARM64, UpxFacts, method_name};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "packed-by-upx",
        stages: PACKED,
        demanded_by: "every policy",
        catches: "a file that is not packed, or packed in a format that is not known here",
        why: "everything below is read from UPX's own structures",
        incident: "a release step that skipped packing because UPX was not installed, and went on",
        peers: "none of them looks inside of a packed file",
        fix: "pack it with UPX 4.2.x; or judge it with `--stage stripped`",
        is_demanded: |_| true,
        check: by_upx,
    },
    Rule {
        id: "upx-structure",
        stages: PACKED,
        demanded_by: "every policy",
        catches: "headers, blocks, end marker or trailer that do not fit together, or sizes that do not add up",
        why: "a cut trailer still runs but cannot be unpacked; a patched header is a sign of tampering",
        incident: "a packed file that was run through `strip` once more and lost its trailer",
        peers: "none of them looks inside of a packed file",
        fix: "pack the stripped file again and do not edit the result; `strip` must run before UPX",
        is_demanded: |_| true,
        check: structure,
    },
    Rule {
        id: "upx-stub-checksum",
        stages: PACKED,
        demanded_by: "every policy",
        catches: "a changed byte in the stub, by l_checksum",
        why: "the stub is the code that runs first; UPX never checks this sum",
        incident: "a flipped byte that `upx -t` passes and that ends the program by SIGSEGV at its start",
        peers: "none of them looks inside of a packed file",
        fix: "pack the stripped file again; the stub differs from what UPX wrote",
        is_demanded: |_| true,
        check: stub_checksum,
    },
    Rule {
        id: "upx-data-checksum",
        stages: PACKED,
        demanded_by: "every policy",
        catches: "a changed byte in the compressed blocks, by c_adler",
        why: "the stub does not check it: damaged data are unpacked into a program that then runs",
        incident: "a download that was damaged on the way and started all the same",
        peers: "none of them looks inside of a packed file",
        fix: "pack the stripped file again, or fetch it again and compare its digest",
        is_demanded: |_| true,
        check: data_checksum,
    },
    Rule {
        id: "round-trip",
        stages: PACKED,
        demanded_by: "every policy; what `cannot_tell` says may stand without a parent",
        catches: "a packed file that does not unpack to the very bytes that were judged before packing",
        why: "sections, symbols and build-id are gone after packing; only equality carries the parent's verdicts over",
        incident: "a cache that gave back the packed file of the build before",
        peers: "none; `upx -t` compares a file with itself",
        fix: "pack the judged file again; `upx -d -o OUT FILE` and `cmp OUT PARENT` show the difference",
        is_demanded: |_| true,
        check: round_trip,
    },
];

/// What this reader was checked against: UPX 3.96 (13) and 4.2 (14), linux/amd64 and linux/arm64.
const KNOWN_VERSIONS: [u8; 2] = [13, 14];
const KNOWN_FORMATS: [u8; 2] = [LINUX_AMD64, LINUX_ARM64];
pub(super) const NOT_PACKED: &str = "no mark of UPX";
pub(super) const NOT_PACKED_HINT: &str = "pack the file with UPX 4.2.x, or judge it with `--stage stripped`";

fn by_upx(case: &Case) -> Finding {
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

fn structure(case: &Case) -> Finding {
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

fn stub_checksum(case: &Case) -> Finding {
    on_upx(case, "l_checksum = Adler-32 of the stub", |upx, expected| {
        let Some(loader) = &upx.loader else { return Finding::pass_if(false, expected, "no `l_info`") };
        let Some(found) = loader.stub_adler_found else {
            return Finding::pass_if(false, expected, "a stub that is not where the entry point says");
        };
        sums(expected, loader.stub_adler, found)
    })
}

fn data_checksum(case: &Case) -> Finding {
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

fn round_trip(case: &Case) -> Finding {
    const EXPECTED: &str = "unpacks to the bytes of its parent";
    let Some(parent) = case.evidence.parent_sha256 else {
        let found =
            "no parent given: what symbols, sections, notes and paths were packed is not in these bytes";
        let hint = "give the stripped file that was packed with `--parent FILE`, or its digest with `--parent-sha256`";
        return Finding::cannot_tell(EXPECTED, found, hint);
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
