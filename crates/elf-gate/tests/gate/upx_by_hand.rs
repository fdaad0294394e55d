//! Packed files that these tests build from the layout, for versions of UPX of which no packed file is at hand: 4.0, 4.1 and 5.x.
//!
//! They are fixtures of the parser only. The stub is placeholder bytes, because no stub of these versions is at hand: the files
//! do not start, and nothing here shows what another version writes. All blocks are stored, which needs no compressor.

use elf_gate::facts::{PT_GNU_STACK, PT_LOAD, Segment};
use elf_gate::upx::{UpxPart, unpack};
use elf_gate::{Evidence, Policy, RuleOutcome, Stage, Verdict, inspect, judge};

use crate::fixtures::{MIB, facts, fixture, sha256};

/// The layout number of UPX 4.2. That of 5.x is not known.
const VERSION_OF_4_2: u8 = 14;
/// About the size of the stub of 4.2.
const STUB_BYTES: usize = 2048;
const MAGIC: &[u8] = b"UPX!";
const PAGE_BYTES: u64 = 4096;
const HEADERS_BYTES: usize = 64 + 3 * 56;

fn adler(bytes: &[u8]) -> u32 {
    let (mut a, mut b) = (1_u32, 0_u32);
    for byte in bytes {
        a = (a + u32::from(*byte)) % 65521;
        b = (b + a) % 65521;
    }
    b << 16 | a
}

fn put(out: &mut [u8], at: usize, bytes: &[u8]) {
    out[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A `b_info` and its data, stored. An empty range has no block.
fn stored(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        let size = u32::try_from(data.len()).unwrap().to_le_bytes();
        out.extend([&size[..], &size, &[0; 4], data].concat());
    }
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

fn program_header(kind: u32, flags: u32, values: [u64; 6]) -> Vec<u8> {
    let head = [kind.to_le_bytes(), flags.to_le_bytes()].concat();
    [head, values.iter().flat_map(|value| value.to_le_bytes()).collect()].concat()
}

/// Packs a static program for linux/amd64 whose first PT_LOAD starts with the headers.
fn packed(original: &[u8], version: u8, stub_bytes: usize) -> Vec<u8> {
    const LINUX_AMD64: u8 = 22;
    let segments = facts(original).segments;
    let loads: Vec<&Segment> = segments.iter().filter(|segment| segment.kind_number == PT_LOAD).collect();
    let inner_bytes = 64 + 56 * segments.len();
    let range = |from: u64, to: u64| &original[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];

    // l_info, p_info and the first block follow the outer headers.
    let mut out = vec![0; HEADERS_BYTES];
    out.extend([0; 4]);
    out.extend(MAGIC);
    out.extend([&u16::try_from(8 + stub_bytes).unwrap().to_le_bytes()[..], &[version, LINUX_AMD64]].concat());
    let size = u32::try_from(original.len()).unwrap();
    let program_at = u32::try_from(out.len()).unwrap();
    out.extend([0, size, size].map(u32::to_le_bytes).concat());
    let first_block_at = u32::try_from(out.len()).unwrap();
    // In the order of the blocks, as the checksums require.
    let mut data = original[..inner_bytes].to_vec();
    stored(&mut out, &original[..inner_bytes]);
    for load in &loads {
        let start = if load.offset == 0 { inner_bytes as u64 } else { load.offset };
        let contents = range(start, load.offset + load.file_size_bytes);
        data.extend(contents);
        stored(&mut out, contents);
    }
    pad(&mut out);

    // The stub: two words by which it finds its data, then placeholder bytes.
    let stub_at = out.len() + 8;
    out.extend([first_block_at, u32::try_from(stub_at - 4).unwrap()].map(u32::to_le_bytes).concat());
    out.resize(stub_at + stub_bytes, 0x90);
    let stub_end = out.len();
    let stub_adler = adler(&out[stub_at..]);
    put(&mut out, HEADERS_BYTES, &stub_adler.to_le_bytes());

    // What lies behind each PT_LOAD, up to the next one in the file. An empty one may have any offset.
    for (index, load) in loads.iter().enumerate() {
        let end = load.offset + load.file_size_bytes;
        let others = loads.iter().enumerate().filter(|(other, _)| *other != index);
        let next = others.map(|(_, other)| other.offset).filter(|offset| *offset >= end).min();
        let contents = range(end, next.unwrap_or(original.len() as u64));
        data.extend(contents);
        stored(&mut out, contents);
    }
    out.extend([&[0; 4], MAGIC, &[0; 4]].concat());
    pad(&mut out);

    // PackHeader and overlay offset.
    let packed_bytes = u32::try_from(out.len()).unwrap();
    let mut trailer = [MAGIC, &[version, LINUX_AMD64, 2, 7]].concat();
    trailer.extend([adler(&data), adler(&data), size, packed_bytes, size].map(u32::to_le_bytes).concat());
    trailer.extend([0; 4]);
    let sum: u32 = trailer[4..31].iter().map(|byte| u32::from(*byte)).sum();
    trailer[31] = (sum % 251) as u8;
    trailer.extend(program_at.to_le_bytes());
    out.extend(trailer);

    // The first segment reserves the memory of the original, the second one holds data and stub.
    let start = loads.iter().map(|load| load.address).min().unwrap() / PAGE_BYTES * PAGE_BYTES;
    let stop = loads.iter().map(|load| load.end_address()).max().unwrap();
    let stub_address = stop.next_multiple_of(PAGE_BYTES);
    let reserved = stop - start;
    let in_file = reserved.min(PAGE_BYTES);
    let stub_end = stub_end as u64;
    let stack = segments.iter().position(|segment| segment.kind_number == PT_GNU_STACK).unwrap();
    let headers = [
        program_header(PT_LOAD, 6, [0, start, start, in_file, reserved, PAGE_BYTES]),
        program_header(PT_LOAD, 5, [0, stub_address, stub_address, stub_end, stub_end, PAGE_BYTES]),
        original[64 + 56 * stack..][..56].to_vec(),
    ];
    put(&mut out, 0, &original[..64]);
    put(&mut out, 24, &(stub_address + stub_at as u64).to_le_bytes());
    // No section headers.
    put(&mut out, 40, &[0; 8]);
    put(&mut out, 56, &[3, 0, 0, 0, 0, 0, 0, 0]);
    put(&mut out, 64, &headers.concat());
    out
}

fn outcomes(bytes: &[u8], original: &[u8]) -> Vec<RuleOutcome> {
    let facts = facts(bytes);
    let parent = sha256(original);
    let unpacked = facts.upx.as_ref().map(|upx| unpack(bytes, upx, 16 * MIB));
    let unpacked =
        unpacked.map(|result| result.map(|bytes| sha256(&bytes)).map_err(|error| error.to_string()));
    let evidence = Evidence {
        parent_sha256: Some(&parent),
        unpacked_sha256: unpacked.as_ref().map(|result| result.as_deref().map_err(String::as_str)),
        ..Evidence::default()
    };
    let policy = Policy { machines: vec!["x86_64".into()], ..Policy::static_musl(Stage::Packed, 8 * MIB) };
    judge(&facts, Stage::Packed, &policy, &evidence)
}

fn not_passed(bytes: &[u8], original: &[u8]) -> Vec<(&'static str, Verdict)> {
    let outcomes = outcomes(bytes, original).into_iter();
    let failing = outcomes.filter(|outcome| outcome.effective() != Verdict::Pass);
    failing.map(|outcome| (outcome.rule, outcome.verdict)).collect()
}

/// The layout of 4.2 that is built here is the one that the parser accepts, so that the other tests change one thing each.
#[test]
fn reads_and_unpacks_the_layout_that_is_built_by_hand() {
    let original = fixture("stripped");
    // A stub of 5.x unpacks itself first and is larger.
    for stub_bytes in [STUB_BYTES, 8 * STUB_BYTES] {
        let bytes = packed(&original, VERSION_OF_4_2, stub_bytes);
        let upx = facts(&bytes).upx.unwrap();
        assert_eq!(upx.problems, []);
        assert_eq!(unpack(&bytes, &upx, MIB).unwrap(), original);
        assert_eq!(not_passed(&bytes, &original), []);
    }
}

#[test]
fn cannot_tell_for_unknown_layout_versions_and_reads_what_is_known() {
    let original = fixture("stripped");
    for version in (0..=u8::MAX).filter(|version| !matches!(*version, 13 | VERSION_OF_4_2)) {
        let bytes = packed(&original, version, STUB_BYTES);
        let upx = facts(&bytes).upx.unwrap();
        assert_eq!(upx.loader.as_ref().unwrap().version, version);
        assert_eq!(upx.inner.headers().unwrap().segments, facts(&original).segments, "version {version}");
        let failing = not_passed(&bytes, &original);
        assert!(failing.contains(&("packed-by-upx", Verdict::CannotTell)), "version {version}: {failing:?}");
    }
    // The layout of 3.96 has the segments in the opposite order.
    let failing = not_passed(&packed(&original, 13, STUB_BYTES), &original);
    assert!(failing.contains(&("upx-structure", Verdict::Violation)), "{failing:?}");
}

#[test]
fn a_version_in_one_of_two_places_is_a_violation() {
    let original = fixture("stripped");
    let mut bytes = packed(&original, VERSION_OF_4_2, STUB_BYTES);
    bytes[HEADERS_BYTES + 10] = 15;
    let problems = facts(&bytes).upx.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.part == UpxPart::LoaderInfo), "{problems:?}");
    let failing = not_passed(&bytes, &original);
    assert!(failing.contains(&("packed-by-upx", Verdict::CannotTell)), "{failing:?}");
    assert!(failing.contains(&("upx-structure", Verdict::Violation)), "{failing:?}");
}

#[test]
fn blocks_of_an_unknown_method_or_filter_do_not_pass() {
    let original = fixture("stripped");
    let bytes = packed(&original, VERSION_OF_4_2, STUB_BYTES);
    let block = |index: usize| usize::try_from(facts(&bytes).upx.unwrap().blocks[index].offset).unwrap();
    for at in [block(0), block(1)] {
        // Method 15, which is Zstandard in the list of UPX, with one byte less than the original.
        let mut unknown = bytes.clone();
        unknown[at] += 1;
        unknown[at + 8] = 15;
        assert_ne!(not_passed(&unknown, &original), [], "method of the block at {at}");
        let mut unknown = bytes.clone();
        unknown[at + 9] = 0xd0;
        assert_ne!(not_passed(&unknown, &original), [], "filter of the block at {at}");
    }
}

#[test]
fn no_cut_and_no_flipped_byte_of_a_structure_passes() {
    let original = fixture("stripped");
    for version in [VERSION_OF_4_2, 15] {
        let bytes = packed(&original, version, STUB_BYTES);
        for len in (0..bytes.len()).step_by(61).chain(bytes.len() - 40..bytes.len()) {
            if let Ok(facts) = inspect(&bytes[..len]) {
                assert!(
                    facts.upx.is_none() || !not_passed(&bytes[..len], &original).is_empty(),
                    "{len} bytes"
                );
            }
        }
        // l_info, p_info and the first b_info; the PackHeader. The Adler-32 of a part that is not there is compared too.
        let end = bytes.len();
        for at in (HEADERS_BYTES..HEADERS_BYTES + 36).chain(end - 36..end) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            // The upper half of p_blocksize is an upper bound; the level and the filter of the trailer are not used.
            let is_unused = (252..256).contains(&at) || [end - 30, end - 29].contains(&at);
            if !is_unused && inspect(&flipped).is_ok() {
                assert_ne!(not_passed(&flipped, &original), [], "byte {at} of {end}, version {version}");
            }
        }
    }
}
