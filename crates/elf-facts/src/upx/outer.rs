//! The parts of a packed file that run: the outer segments, the stub, and the two words by which the stub finds its data.
//!
//! No checksum of UPX covers the outer headers and these words. All of them follow from the original headers and the layout,
//! so each is compared with its computed value.

use std::ops::Range;

use crate::bytes::{hex, u32_at};
use crate::elf::types::{Header, PT_GNU_STACK, PT_LOAD, Segment};
use crate::upx::format::LINUX_ARM64;
use crate::upx::problem::{UpxPart, UpxProblem};
use crate::upx::types::InnerHeaders;

/// `p_filesz` of the segment that reserves memory.
const RESERVED_FILE_BYTES: u64 = 0x1000;
/// The largest page size that UPX aligns to.
const PAGE_BYTES_MAX: u64 = 0x1_0000;

/// The executable segment that contains the entry point.
pub(super) fn entry_segment<'a>(header: &Header, segments: &'a [Segment]) -> Option<&'a Segment> {
    segments.iter().find(|segment| {
        let into = header.entry.checked_sub(segment.address);
        let is_inside = into.is_some_and(|into| into < segment.file_size_bytes);
        segment.kind_number == PT_LOAD && segment.is_executable() && is_inside
    })
}

/// The code that the kernel starts. Its checksum covers it from the entry point on, on arm64 from one word earlier.
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

/// The stub finds its data by the two words before it: the offset of the first block and the offset of the second word
/// itself. Only padding lies between the last block and these words.
pub(super) fn words_before_stub(
    bytes: &[u8],
    header: &Header,
    segments: &[Segment],
    format: u8,
    first_block_at: u64,
    blocks_end: u64,
) -> Result<(), UpxProblem> {
    let stub_at = stub_offset(header, segments, format).filter(|&at| at >= 8);
    let stub_at = stub_at.ok_or_else(|| UpxProblem::new(UpxPart::Entry, "inside of the stub", "outside"))?;
    let expected = [first_block_at, stub_at - 4];
    let found = [u32_at(bytes, stub_at - 8), u32_at(bytes, stub_at - 4)];
    if found != expected.map(|word| u32::try_from(word).ok()) {
        let found = found.map(|word| word.map_or("the end of the file".into(), |word| word.to_string()));
        return Err(UpxProblem::new(
            UpxPart::WordsBeforeStub,
            format!("{} and {}", expected[0], expected[1]),
            found.join(" and "),
        ));
    }
    match is_zero(bytes, blocks_end, stub_at - 8) {
        true => Ok(()),
        false => Err(UpxProblem::new(UpxPart::PaddingBeforeStub, "zeros", "other bytes")),
    }
}

/// Whether all bytes of the range are zero; false for a range outside of the file.
pub(super) fn is_zero(bytes: &[u8], start: u64, end: u64) -> bool {
    let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    range
        .and_then(|(start, end)| bytes.get(start..end))
        .is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0))
}

/// Compares the outer headers with their computed values: each field is a constant, a copy, or follows from the original.
pub(super) fn headers(
    bytes: &[u8],
    inner: &InnerHeaders,
    inner_bytes: &[u8],
    segments: &[Segment],
    is_version_13: bool,
) -> Vec<UpxProblem> {
    let mut problems = Vec::new();
    problems.extend(elf_header(bytes, inner_bytes, is_version_13).err());
    problems.extend(kinds(bytes, inner, inner_bytes, segments, is_version_13).err());
    problems.extend(match is_version_13 {
        true => loads_of_version_13(inner, segments).err(),
        false => loads(inner, segments).err(),
    });
    problems
}

/// Fields that the readers do not extract. UPX writes constants; other values mean that the file was edited.
fn elf_header(bytes: &[u8], inner_bytes: &[u8], is_version_13: bool) -> Result<(), UpxProblem> {
    let field = |bytes: &[u8], range: Range<usize>| bytes.get(range).map(<[u8]>::to_vec);
    let section_entry = if is_version_13 { 64 } else { 0 };
    let e_flags = field(inner_bytes, 48..52).unwrap_or_default();
    let expected = [
        ("e_ident beyond EI_OSABI", 8..16, vec![0; 8]),
        ("e_version", 20..24, vec![1, 0, 0, 0]),
        ("e_shoff", 40..48, vec![0; 8]),
        ("e_flags", 48..52, e_flags),
        ("e_ehsize", 52..54, vec![64, 0]),
        ("e_shentsize", 58..60, vec![section_entry, 0]),
        ("e_shnum and e_shstrndx", 60..64, vec![0; 4]),
    ];
    for (name, range, wanted) in expected {
        let found = field(bytes, range).unwrap_or_default();
        if found != wanted {
            let show = |bytes: Vec<u8>| hex(&bytes);
            return Err(UpxProblem::new(
                UpxPart::OuterHeader,
                format!("{name} {}", show(wanted)),
                show(found),
            ));
        }
    }
    Ok(())
}

/// The segment table: two PT_LOADs, then a copy of the original PT_GNU_STACK if it exists.
fn kinds(
    bytes: &[u8],
    inner: &InnerHeaders,
    inner_bytes: &[u8],
    segments: &[Segment],
    is_version_13: bool,
) -> Result<(), UpxProblem> {
    const ENTRY_BYTES: usize = 56;
    let entry = |bytes: &[u8], index: usize| {
        let at = 64 + ENTRY_BYTES * index;
        bytes.get(at..at + ENTRY_BYTES).map(<[u8]>::to_vec)
    };
    let stack = inner.segments.iter().position(|segment| segment.kind_number == PT_GNU_STACK);
    let mut expected = vec![PT_LOAD, PT_LOAD];
    expected.extend(stack.map(|_| PT_GNU_STACK));
    let found: Vec<u32> = segments.iter().map(|segment| segment.kind_number).collect();
    if found != expected {
        let list =
            |kinds: &[u32]| kinds.iter().map(|kind| format!("{kind:#x}")).collect::<Vec<_>>().join(", ");
        return Err(UpxProblem::new(
            UpxPart::OuterLoads,
            format!("segments {}", list(&expected)),
            list(&found),
        ));
    }
    // The rule `outer-inner-agree` compares `rwx` and the size, and reports the values.
    let rest = |entry: Option<Vec<u8>>| {
        entry.map(|entry| [&[entry[4] & !0b111], &entry[5..40], &entry[48..]].concat())
    };
    if let Some(stack) = stack
        && rest(entry(bytes, 2)) != rest(entry(inner_bytes, stack))
    {
        return Err(UpxProblem::new(UpxPart::OuterStack, "a copy of the original segment", "other values"));
    }
    for (index, load) in segments.iter().take(2).enumerate() {
        let physical =
            entry(bytes, index).and_then(|entry| Some(u64::from_le_bytes(*entry[24..].first_chunk()?)));
        if physical != Some(load.address) {
            let found = physical.map_or("none".into(), |physical| format!("{physical:#x}"));
            return Err(UpxProblem::new(UpxPart::OuterLoads, format!("p_paddr {:#x}", load.address), found));
        }
        // 3.96 aligns its own PT_LOAD to 4 KiB on every machine.
        let is_equal = is_version_13 || load.align == segments[0].align;
        if !is_equal || !load.align.is_power_of_two() || load.align > PAGE_BYTES_MAX {
            return Err(UpxProblem::new(
                UpxPart::OuterLoads,
                "the size of a page as alignment",
                format!("{:#x}", load.align),
            ));
        }
    }
    Ok(())
}

/// UPX 4.x: the first PT_LOAD reserves the memory image of the original; the second one holds all bytes and follows it.
fn loads(inner: &InnerHeaders, segments: &[Segment]) -> Result<(), UpxProblem> {
    let outer: Vec<&Segment> = loads_of(segments).collect();
    let [reserved, stub] = outer[..] else {
        return Err(UpxProblem::new(UpxPart::OuterLoads, "two", outer.len().to_string()));
    };
    let (start, stop) = image(inner);
    // The lowest address may lie inside of a page; UPX reserves whole pages.
    let covers = start.checked_sub(reserved.address).is_some_and(|inside| inside < PAGE_BYTES_MAX);
    // UPX writes one page of 4 KiB on every machine, or less when the image is smaller. More would map compressed data.
    let in_file = RESERVED_FILE_BYTES.min(reserved.memory_size_bytes);
    let is_bare =
        reserved.offset == 0 && reserved.flags_number == READ_WRITE && reserved.file_size_bytes == in_file;
    if !is_bare || !covers || end_address(reserved) != stop {
        return Err(UpxProblem::new(
            UpxPart::FirstOuterLoad,
            format!(
                "rw- for {start:#x}..{stop:#x}, the memory image of the original, with {in_file} bytes of the file"
            ),
            describe(reserved),
        ));
    }
    let follows = stub.address.checked_sub(stop).is_some_and(|gap| gap < PAGE_BYTES_MAX);
    if !is_whole(stub) || !follows {
        return Err(UpxProblem::new(
            UpxPart::SecondOuterLoad,
            format!("r-x, the stub directly after {stop:#x}"),
            describe(stub),
        ));
    }
    Ok(())
}

/// UPX up to 3.96: the first PT_LOAD holds all bytes, at the address of the original; the second one has no bytes and
/// reserves the rest of the memory image.
fn loads_of_version_13(inner: &InnerHeaders, segments: &[Segment]) -> Result<(), UpxProblem> {
    let outer: Vec<&Segment> = loads_of(segments).collect();
    let [stub, reserved] = outer[..] else {
        return Err(UpxProblem::new(UpxPart::OuterLoads, "two", outer.len().to_string()));
    };
    let (start, stop) = image(inner);
    let covers = start.checked_sub(stub.address).is_some_and(|inside| inside < PAGE_BYTES_MAX);
    if !is_whole(stub) || !covers {
        return Err(UpxProblem::new(UpxPart::FirstOuterLoad, format!("r-x, at {start:#x}"), describe(stub)));
    }
    let follows = reserved.address.checked_sub(end_address(stub)).is_some_and(|gap| gap < PAGE_BYTES_MAX);
    let is_empty = reserved.file_size_bytes == 0 && reserved.flags_number == READ_WRITE;
    if !is_empty || !follows || end_address(reserved) != stop {
        return Err(UpxProblem::new(
            UpxPart::SecondOuterLoad,
            format!("rw- without bytes, up to {stop:#x}"),
            describe(reserved),
        ));
    }
    Ok(())
}

const READ_EXECUTE: u32 = 5;
const READ_WRITE: u32 = 6;

fn is_whole(stub: &Segment) -> bool {
    stub.offset == 0 && stub.file_size_bytes == stub.memory_size_bytes && stub.flags_number == READ_EXECUTE
}

/// First and last address of the original in memory.
fn image(inner: &InnerHeaders) -> (u64, u64) {
    let start = loads_of(&inner.segments).map(|load| load.address).min().unwrap_or(0);
    let stop = loads_of(&inner.segments).map(end_address).max().unwrap_or(0);
    (start, stop)
}

fn describe(load: &Segment) -> String {
    let (start, stop) = (load.address, end_address(load));
    format!("{} for {start:#x}..{stop:#x} with {} bytes of the file", load.flags, load.file_size_bytes)
}

fn loads_of(segments: &[Segment]) -> impl Iterator<Item = &Segment> {
    segments.iter().filter(|segment| segment.kind_number == PT_LOAD)
}

fn end_address(load: &Segment) -> u64 {
    load.address.saturating_add(load.memory_size_bytes)
}
