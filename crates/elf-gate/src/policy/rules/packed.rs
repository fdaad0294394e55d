//! Rules on the structures of UPX and on the unpacked file. The rules of `load` judge the outer headers, those of `inner` the
//! inner headers.

use elf_facts::upx::{LINUX_AMD64, LINUX_ARM64, UpxFacts, method_name};

use crate::policy::check_result::CheckResult;
use crate::policy::rule::{RuleInput, rules};

rules! {
    "packed-by-upx" at PACKED, enabled by "every policy" if |_| true => by_upx {
        detects: "a file that is not packed, or packed in an unknown format",
        rationale: "all other rules for packed files use the structures of UPX",
        incident: "a release step skipped packing because UPX was not installed, and continued",
        other_tools: "none of the other tools reads the structures of UPX",
        fix: "pack it with UPX 4.2.x, or judge it with `--stage stripped`",
    }
    "upx-structure" at PACKED, enabled by "every policy" if |_| true => structure {
        detects: "inconsistent headers, blocks, end marker, trailer or sizes",
        rationale: "a file without its trailer runs but cannot be unpacked; an edited header indicates tampering",
        incident: "a packed file lost its trailer when `strip` ran on it",
        other_tools: "none of the other tools reads the structures of UPX",
        fix: "pack the stripped file again and do not edit the result; `strip` must run before UPX",
    }
    "upx-stub-checksum" at PACKED, enabled by "every policy" if |_| true => stub_checksum {
        detects: "a changed byte in the stub, detected by l_checksum",
        rationale: "the stub is the code that runs first; UPX never verifies this checksum",
        incident: "a file with one flipped byte passed `upx -t` and ended with SIGSEGV at its start",
        other_tools: "none of the other tools reads the structures of UPX",
        fix: "pack the stripped file again; the stub differs from the output of UPX",
    }
    "upx-data-checksum" at PACKED, enabled by "every policy" if |_| true => data_checksum {
        detects: "a changed byte in the compressed blocks, detected by c_adler",
        rationale: "the stub does not verify the checksum: damaged data are unpacked and run",
        incident: "a damaged download was started",
        other_tools: "none of the other tools reads the structures of UPX",
        fix: "pack the stripped file again, or download it again and compare its digest",
    }
    "round-trip" at PACKED, enabled by "every policy; `cannot_tell` can accept a missing parent" if |_| true => round_trip {
        detects: "a packed file that does not unpack to the bytes that were judged before packing",
        rationale: "packing removes sections, symbols and the build-id; only equality with the parent makes its verdicts valid for the packed file",
        incident: "a cache returned the packed file of an earlier build",
        other_tools: "none; `upx -t` compares a file with its own checksums",
        fix: "pack the judged file again; `upx -d -o OUT FILE` and `cmp OUT PARENT` show the difference",
    }
}

/// The reader was tested with UPX 3.96 (13) and 4.2 (14), linux/amd64 and linux/arm64.
const KNOWN_VERSIONS: [u8; 2] = [13, 14];
const KNOWN_FORMATS: [u8; 2] = [LINUX_AMD64, LINUX_ARM64];
pub(super) const NOT_PACKED: &str = "no UPX magic number";
pub(super) const NOT_PACKED_HINT: &str = "pack the file with UPX 4.2.x, or judge it with `--stage stripped`";

fn by_upx(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "packed by UPX 3.96 or 4.x for linux/amd64 or linux/arm64";
    let Some(upx) = &input.facts.upx else { return CheckResult::pass_if(false, EXPECTED, NOT_PACKED) };
    let Some(loader) = &upx.loader else {
        return CheckResult::cannot_tell(
            EXPECTED,
            "a UPX trailer without `l_info`",
            "pack the stripped file again",
        );
    };
    let found = format!("version {}, format {}", loader.version, loader.format);
    if !KNOWN_VERSIONS.contains(&loader.version) || !KNOWN_FORMATS.contains(&loader.format) {
        return CheckResult::cannot_tell(EXPECTED, found, NOT_PACKED_HINT);
    }
    let method = upx.pack_header.as_ref().map_or("unknown method".into(), |pack| method_name(pack.method));
    CheckResult::pass_if(true, EXPECTED, format!("{found}, {method}"))
}

fn structure(input: &RuleInput) -> CheckResult {
    on_upx(input, "consistent headers, blocks and trailer", |upx, expected| {
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
        CheckResult::pass_if(upx.problems.is_empty(), expected, found)
    })
}

fn stub_checksum(input: &RuleInput) -> CheckResult {
    on_upx(input, "l_checksum = Adler-32 of the stub", |upx, expected| {
        let Some(loader) = &upx.loader else { return CheckResult::pass_if(false, expected, "no `l_info`") };
        let Some(found) = loader.stub_adler_found else {
            return CheckResult::pass_if(false, expected, "no stub at the entry point");
        };
        checksums(expected, loader.stub_adler, found)
    })
}

fn data_checksum(input: &RuleInput) -> CheckResult {
    on_upx(input, "c_adler = Adler-32 of the compressed blocks", |upx, expected| {
        match (&upx.pack_header, upx.compressed_adler_found) {
            (Some(pack), Some(found)) => checksums(expected, pack.compressed_adler, found),
            (None, _) => CheckResult::pass_if(false, expected, "no trailer"),
            (_, None) => CheckResult::pass_if(false, expected, "no blocks"),
        }
    })
}

fn checksums(expected: &str, stored: u32, found: u32) -> CheckResult {
    let text = match stored == found {
        true => format!("{stored:08x}"),
        false => format!("{stored:08x} stored, {found:08x} computed"),
    };
    CheckResult::pass_if(stored == found, expected, text)
}

fn round_trip(input: &RuleInput) -> CheckResult {
    const EXPECTED: &str = "an unpacked file that equals the parent";
    let Some(parent) = input.evidence.parent_sha256 else {
        let found =
            "no parent: symbols, sections, notes and paths of the original are not in the packed bytes";
        let hint = "pass the stripped file with `--parent FILE`, or its digest with `--parent-sha256`";
        return CheckResult::cannot_tell(EXPECTED, found, hint);
    };
    let unpacked = match input.evidence.unpacked_sha256 {
        None => {
            return CheckResult::cannot_tell(
                EXPECTED,
                "not unpacked",
                "unpack it with `upx -d -o OUT FILE` and pass its digest",
            );
        }
        Some(Err(reason)) => {
            return CheckResult::pass_if(false, EXPECTED, format!("cannot be unpacked: {reason}"));
        }
        Some(Ok(digest)) => digest,
    };
    if unpacked != parent {
        let found = format!("sha256 {} unpacked, {} of the parent", short(unpacked), short(parent));
        return CheckResult::pass_if(false, EXPECTED, found);
    }
    // Equal digests with different sizes mean that one of the two digests belongs to another file.
    let declared =
        input.facts.upx.as_ref().and_then(|upx| upx.program.as_ref()).map(|p| u64::from(p.file_size_bytes));
    if let (Some(parent), Some(declared)) = (input.evidence.parent, declared)
        && parent.size_bytes != declared
    {
        let found = format!(
            "equal digests, but a declared size of {declared} bytes and {} bytes in the parent",
            parent.size_bytes
        );
        return CheckResult::pass_if(false, EXPECTED, found);
    }
    CheckResult::pass_if(true, EXPECTED, format!("equal sha256 {}", short(unpacked)))
}

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

/// For a file that is not packed, `packed-by-upx` reports the violation; the other rules cannot tell.
fn on_upx<'a>(
    input: &RuleInput<'a>,
    expected: &'static str,
    check: impl Fn(&'a UpxFacts, &str) -> CheckResult,
) -> CheckResult {
    match &input.facts.upx {
        Some(upx) => check(upx, expected),
        None => CheckResult::cannot_tell(expected, NOT_PACKED, NOT_PACKED_HINT),
    }
}
