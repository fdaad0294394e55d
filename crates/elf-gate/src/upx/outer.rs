//! The parts of a packed file that run: the outer segments, the stub, and the two words by which it finds its data.
//!
//! No checksum of UPX covers the outer headers and those words, but all of them follow from the original headers and
//! from the layout, so each is compared with what it must be.

use super::{InnerHeaders, Part, Problem, u32_at};
use crate::facts::{Header, PT_LOAD, Segment};

const LINUX_ARM64: u8 = 42;
/// The largest page that UPX aligns for.
const PAGE_BYTES_MAX: u64 = 0x1_0000;

pub(super) fn entry_segment<'a>(header: &Header, segments: &'a [Segment]) -> Option<&'a Segment> {
    segments.iter().find(|segment| {
        let into = header.entry.checked_sub(segment.address);
        let is_inside = into.is_some_and(|into| into < segment.file_size_bytes);
        segment.kind_number == PT_LOAD && segment.is_executable() && is_inside
    })
}

/// The code that the kernel starts; its checksum covers it from the entry point on, and on arm64 one word more.
pub(super) fn stub<'a>(
    bytes: &'a [u8],
    header: &Header,
    segments: &[Segment],
    format: u8,
) -> Option<&'a [u8]> {
    let segment = entry_segment(header, segments)?;
    let start = stub_offset(header, segments, format)?;
    let end = segment.offset.checked_add(segment.file_size_bytes)?;
    bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}

fn stub_offset(header: &Header, segments: &[Segment], format: u8) -> Option<u64> {
    let segment = entry_segment(header, segments)?;
    let before_entry = if format == LINUX_ARM64 { 4 } else { 0 };
    segment.offset.checked_add(header.entry.checked_sub(segment.address)?)?.checked_sub(before_entry)
}

/// The stub finds its data by two words right before it: the offset of the first block, and the word's own offset.
/// Between the last block and these there is nothing but padding.
pub(super) fn words_before_stub(
    bytes: &[u8],
    header: &Header,
    segments: &[Segment],
    format: u8,
    first_block_at: u64,
    blocks_end: u64,
) -> Result<(), Problem> {
    let stub_at = stub_offset(header, segments, format).filter(|&at| at >= 8);
    let stub_at = stub_at.ok_or_else(|| Problem::new(Part::Entry, "inside of the stub", "outside"))?;
    let expected = [first_block_at, stub_at - 4];
    let found = [u32_at(bytes, stub_at - 8), u32_at(bytes, stub_at - 4)];
    if found != expected.map(|word| u32::try_from(word).ok()) {
        let found = found.map(|word| word.map_or("the end of the file".into(), |word| word.to_string()));
        return Err(Problem::new(
            Part::WordsBeforeStub,
            format!("{} and {}", expected[0], expected[1]),
            found.join(" and "),
        ));
    }
    match is_zero(bytes, blocks_end, stub_at - 8) {
        true => Ok(()),
        false => Err(Problem::new(Part::PaddingBeforeStub, "zeros", "other bytes")),
    }
}

/// False as well when the range does not lie in the file or runs backwards.
pub(super) fn is_zero(bytes: &[u8], start: u64, end: u64) -> bool {
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    range
        .and_then(|(start, end)| bytes.get(start..end))
        .is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0))
}

/// The first PT_LOAD reserves the image of the original, the second one holds everything and stands right behind it.
pub(super) fn loads(inner: &InnerHeaders, segments: &[Segment]) -> Result<(), Problem> {
    let outer: Vec<&Segment> = loads_of(segments).collect();
    let [reserved, stub] = outer[..] else {
        return Err(Problem::new(Part::OuterLoads, "two", outer.len().to_string()));
    };
    let start = loads_of(&inner.segments).map(|load| load.address).min().unwrap_or(0);
    let stop = loads_of(&inner.segments).map(end_address).max().unwrap_or(0);
    // The lowest address may be inside of a page; UPX reserves whole pages.
    let covers = start.checked_sub(reserved.address).is_some_and(|inside| inside < PAGE_BYTES_MAX);
    if reserved.offset != 0 || !covers || end_address(reserved) != stop {
        return Err(Problem::new(
            Part::FirstOuterLoad,
            format!("{start:#x}..{stop:#x}, the image of the original"),
            format!("{:#x}..{:#x}", reserved.address, end_address(reserved)),
        ));
    }
    let follows = stub.address.checked_sub(stop).is_some_and(|behind| behind < PAGE_BYTES_MAX);
    if stub.offset != 0 || stub.file_size_bytes != stub.memory_size_bytes || !follows {
        return Err(Problem::new(
            Part::SecondOuterLoad,
            format!("the stub right behind {stop:#x}"),
            format!("{:#x} with {} bytes", stub.address, stub.file_size_bytes),
        ));
    }
    Ok(())
}

fn loads_of(segments: &[Segment]) -> impl Iterator<Item = &Segment> {
    segments.iter().filter(|segment| segment.kind_number == PT_LOAD)
}

fn end_address(load: &Segment) -> u64 {
    load.address.saturating_add(load.memory_size_bytes)
}
