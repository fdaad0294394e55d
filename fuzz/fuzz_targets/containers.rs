//! Any bytes as an archive, an image or a compressed file; the ELF files in it are read as well. The first byte selects whether
//! the target compresses the rest: a fuzzer does not find the checksum of a gzip stream.
#![no_main]

use std::collections::HashSet;
use std::io::Write;

use elf_gate::containers::{Content, Limits, walk};
use elf_gate::inspect;
use libfuzzer_sys::fuzz_target;

/// Small limits, so that a decompression bomb appears as a slow or large input.
const LIMITS: Limits =
    Limits { depth_max: 6, entries_max: 2_000, decompressed_bytes_max: 8 << 20, member_bytes_max: 1 << 20 };

fuzz_target!(|input: &[u8]| {
    let [choice, rest @ ..] = input else { return };
    let bytes = if choice & 7 == 7 { gzip(rest) } else { rest.to_vec() };
    let mut entries = 0_u64;
    let mut seen = HashSet::new();
    let hidden = walk("in", &bytes, &LIMITS, &mut |name, content| {
        entries += 1;
        assert!(name.starts_with("in"), "a member without its container: {name}");
        match content {
            Content::Elf(bytes) => {
                assert!(
                    bytes.starts_with(b"\x7fELF")
                        && bytes.len() as u64 <= LIMITS.member_bytes_max.max(input.len() as u64)
                );
                // A few files per run: the target `facts` covers the readers.
                if seen.len() < 4 {
                    let _ = inspect(bytes);
                }
                seen.insert(name.to_string());
            }
            Content::Unreadable(error) => assert!(error.fields().hint.is_some(), "{error}"),
            Content::Other | Content::Unsupported(_) => {}
        }
    });
    // At most one report for each entry, and one at the end of each container.
    assert!(entries <= 2 * LIMITS.entries_max + 16, "{entries} reports");
    for hidden in hidden {
        assert!(seen.contains(&hidden.name), "{} is hidden and was not reported", hidden.name);
    }
});

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.output()).expect("a Vec takes all bytes")
}
