//! Any bytes as an archive, an image or a compressed file; the ELF files in it are read too. The first byte selects the
//! compression that is applied to the rest: a fuzzer does not find the checksum of a gzip stream.
#![no_main]

use std::collections::HashSet;
use std::io::Write;

use elf_gate::containers::{Content, WalkLimits, walk};
use elf_gate::inspect;
use libfuzzer_sys::fuzz_target;
use muslin_fuzz::check_images;

/// Small, so that a compression bomb becomes a finding.
const LIMITS: WalkLimits = WalkLimits {
    depth_max: 6,
    entries_max: 2_000,
    decompressed_bytes_max: 8 << 20,
    member_bytes_max: 1 << 20,
};

fuzz_target!(|input: &[u8]| {
    let [choice, rest @ ..] = input else { return };
    let bytes = if choice & 7 == 7 { gzip(rest) } else { rest.to_vec() };
    let mut entries = 0_u64;
    let mut seen = HashSet::new();
    let walked = walk("in", &bytes, &LIMITS, &mut |name, content| {
        entries += 1;
        assert!(name.starts_with("in"), "a member without its container: {name}");
        match content {
            Content::Elf(bytes) => {
                assert!(
                    bytes.starts_with(b"\x7fELF")
                        && bytes.len() as u64 <= LIMITS.member_bytes_max.max(input.len() as u64)
                );
                // Reading costs as much as in the target `facts`; a few a run are enough here.
                if seen.len() < 4 {
                    let _ = inspect(bytes);
                }
                seen.insert(name.to_string());
            }
            Content::Unreadable(diagnostic) => assert!(diagnostic.fields().hint.is_some()),
            Content::Other | Content::Unsupported(_) => {}
        }
    });
    // One report at the end of a container, one for each entry.
    assert!(entries <= 2 * LIMITS.entries_max + 16, "{entries} reports");
    for hidden in &walked.hidden {
        assert!(seen.contains(&hidden.name), "{} is hidden and was never found", hidden.name);
    }
    check_images(&walked.images, &seen);
});

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a Vec takes all bytes")
}
