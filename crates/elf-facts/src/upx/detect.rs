//! Reads the layout of a packed file from front to back and records every inconsistency.
//!
//! | position | contents |
//! |---|---|
//! | after the outer program headers | `l_info`, `p_info`, the block of the original headers |
//! | next | a run of blocks for each original PT_LOAD, the stub |
//! | from the end of the stub segment | blocks for the bytes between the PT_LOADs, an end marker |
//! | last 36 bytes | PackHeader, offset of `p_info` |

use crate::bytes::u32_at;
use crate::elf::cross_check::read_headers_twice;
use crate::elf::types::{Header, PT_LOAD, Segment};
use crate::upx::problem::{UpxPart, UpxProblem};
use crate::upx::scanner::{MAGIC, Scanner, TRAILER_BYTES};
use crate::upx::types::{Block, Inner, InnerHeaders, LoaderInfo, PackHeader, ProgramInfo, UpxFacts};
use crate::upx::{decompress, filter, outer};

const LOADER_INFO_BYTES: u64 = 12;
const PROGRAM_INFO_BYTES: u64 = 12;
/// The layout number of UPX 3.9x; 4.x writes 14.
const VERSION_OF_3_96: u8 = 13;
/// Larger headers would hold tens of thousands of segments; the kernel rejects those.
const INNER_HEADERS_BYTES_MAX: u32 = 1 << 20;

/// `None` without a UPX magic number. One of the two is sufficient: a file without its trailer still runs.
pub fn detect(
    bytes: &[u8],
    header: &Header,
    segments: &[Segment],
    has_no_sections: bool,
) -> Option<UpxFacts> {
    let loader_at = header.program_headers_end;
    let trailer_at = (bytes.len() as u64).checked_sub(TRAILER_BYTES);
    let has_loader = u32_at(bytes, loader_at.saturating_add(4)) == Some(MAGIC);
    let has_trailer = has_no_sections && trailer_at.is_some_and(|at| u32_at(bytes, at) == Some(MAGIC));
    if !has_loader && !has_trailer {
        return None;
    }
    let mut layout = Layout { scan: Scanner::new(bytes) };
    let mut facts = UpxFacts {
        loader: None,
        program: None,
        blocks: Vec::new(),
        pack_header: None,
        compressed_adler_found: None,
        inner: Inner::Unreadable(UpxProblem::new(
            UpxPart::LoaderInfo,
            "`UPX!` after the program headers",
            "other bytes, so that the position of the first block is unknown",
        )),
        problems: Vec::new(),
    };
    if has_trailer {
        facts.pack_header = trailer_at.and_then(|at| pack_header(bytes, at));
    }
    if facts.pack_header.is_none() {
        layout.scan.problem(
            UpxPart::Trailer,
            "a PackHeader 36 bytes before the end",
            "none: the end of the file is cut off or overwritten",
        );
    }
    match has_loader {
        true => layout.front(&mut facts, header, segments, loader_at),
        false => layout.scan.problem(
            UpxPart::LoaderInfo,
            format!("`UPX!` at offset {}", loader_at.saturating_add(4)),
            "other bytes",
        ),
    }
    layout.cross_check(&facts, loader_at.saturating_add(LOADER_INFO_BYTES));
    facts.compressed_adler_found = layout.scan.compressed_adler();
    facts.blocks = layout.scan.blocks;
    facts.problems = layout.scan.problems;
    Some(facts)
}

fn pack_header(bytes: &[u8], at: u64) -> Option<PackHeader> {
    let start = usize::try_from(at).ok()?;
    let raw = bytes.get(start..start + 32)?;
    let word = |offset: u64| u32_at(raw, offset);
    let sum: u32 = raw[4..31].iter().map(|&byte| u32::from(byte)).sum();
    Some(PackHeader {
        version: raw[4],
        format: raw[5],
        method: raw[6],
        level: raw[7],
        unpacked_adler: word(8)?,
        compressed_adler: word(12)?,
        unpacked_size_bytes: word(16)?,
        compressed_size_bytes: word(20)?,
        file_size_bytes: word(24)?,
        checksum: raw[31],
        checksum_found: (sum % 251) as u8,
        overlay_offset: u32_at(bytes, at + 32)?,
    })
}

/// Reads the parts of the file in order.
struct Layout<'a> {
    scan: Scanner<'a>,
}

impl Layout<'_> {
    /// `l_info`, `p_info` and the first block, then the rest.
    fn front(&mut self, facts: &mut UpxFacts, header: &Header, segments: &[Segment], loader_at: u64) {
        let Some(loader) = self.loader_info(header, segments, loader_at) else {
            return self.scan.problem(UpxPart::LoaderInfo, "12 bytes", "the end of the file");
        };
        facts.loader = Some(loader);
        let program_at = loader_at + LOADER_INFO_BYTES;
        let (Some(file_size_bytes), Some(block_size_bytes)) =
            (u32_at(self.scan.bytes, program_at + 4), u32_at(self.scan.bytes, program_at + 8))
        else {
            return self.scan.problem(UpxPart::ProgramInfo, "12 bytes", "the end of the file");
        };
        facts.program = Some(ProgramInfo { file_size_bytes, block_size_bytes });
        if u32_at(self.scan.bytes, program_at) != Some(0) {
            self.scan.problem(UpxPart::ProgramInfo, "a program id of 0", "another one");
        }
        self.scan.cursor = program_at + PROGRAM_INFO_BYTES;
        match self.inner_headers() {
            Ok((inner, inner_bytes)) => {
                self.body(facts, &inner, segments, header);
                self.filters(facts.loader.as_ref().and_then(|loader| filter::of_format(loader.format)));
                let is_version_13 =
                    facts.loader.as_ref().is_some_and(|loader| loader.version == VERSION_OF_3_96);
                self.scan.problems.extend(outer::headers(
                    self.scan.bytes,
                    &inner,
                    &inner_bytes,
                    segments,
                    is_version_13,
                ));
                facts.inner = Inner::Read(inner);
            }
            Err(found) => {
                let problem = UpxProblem::new(UpxPart::FirstBlock, "the original program headers", found);
                self.scan.problems.push(problem.clone());
                facts.inner = Inner::Unreadable(problem);
            }
        }
    }

    fn loader_info(&self, header: &Header, segments: &[Segment], at: u64) -> Option<LoaderInfo> {
        let stub_adler = u32_at(self.scan.bytes, at)?;
        let sizes = u32_at(self.scan.bytes, at + 8)?.to_le_bytes();
        Some(LoaderInfo {
            offset: at,
            stub_adler,
            stub_adler_found: outer::stub(self.scan.bytes, header, segments, sizes[3])
                .map(|stub| simd_adler32::adler32(&stub)),
            stub_size_bytes: u16::from_le_bytes([sizes[0], sizes[1]]),
            version: sizes[2],
            format: sizes[3],
        })
    }

    /// Decompresses the first block.
    fn inner_headers(&mut self) -> Result<(InnerHeaders, Vec<u8>), String> {
        let block = self.scan.block(0).ok_or("the file ends before the block does")?;
        if block.unpacked_size_bytes > INNER_HEADERS_BYTES_MAX {
            return Err(format!("a block of {} bytes", block.unpacked_size_bytes));
        }
        let headers = decompress::block(self.scan.bytes, &block).map_err(|error| error.to_string())?;
        let (header, segments) = read_headers_twice(&headers).map_err(|error| error.to_string())?;
        if header.program_headers_end > headers.len() as u64 {
            return Err(format!("program headers that end at byte {}", header.program_headers_end));
        }
        Ok((InnerHeaders { header, segments }, headers))
    }

    /// The blocks of the segments, the stub, and the blocks of the gaps between segments.
    fn body(&mut self, facts: &UpxFacts, inner: &InnerHeaders, segments: &[Segment], header: &Header) {
        let headers_bytes = self.scan.unpacked_bytes;
        let file_size_bytes = facts.program.as_ref().map_or(0, |program| u64::from(program.file_size_bytes));
        let loads = inner.segments.iter().filter(|segment| segment.kind_number == PT_LOAD);
        let loads: Vec<&Segment> = loads.collect();
        for load in &loads {
            let start = if load.offset == 0 { headers_bytes } else { load.offset };
            let end = load.offset.saturating_add(load.file_size_bytes);
            if end > file_size_bytes {
                return self.scan.problem(
                    UpxPart::InnerLoad,
                    format!("an end within {file_size_bytes}"),
                    format!("{end}"),
                );
            }
            if self.scan.run(start, end).is_none() {
                return;
            }
        }
        let Some(entry) = outer::entry_segment(header, segments) else {
            return self.scan.problem(
                UpxPart::Entry,
                "an address inside of an executable PT_LOAD",
                format!("{:#x}", header.entry),
            );
        };
        let segment_end = entry.offset.saturating_add(entry.file_size_bytes);
        if segment_end > self.scan.bytes.len() as u64 {
            let expected = format!("an end of the stub within {} bytes", self.scan.bytes.len());
            return self.scan.problem(UpxPart::Stub, expected, segment_end.to_string());
        }
        self.stub(facts, header, segments, segment_end);
        self.scan.cursor = segment_end.next_multiple_of(4);
        for (start, end) in gaps(&loads, file_size_bytes) {
            if self.scan.run(start, end).is_none() {
                return;
            }
        }
        self.scan.end_marker();
    }

    /// Each machine has one filter. Only the filter of x86 has a mark.
    fn filters(&mut self, of_machine: Option<u8>) {
        let is_unknown = |block: &&Block| {
            let marked = block.filter_cto != 0 && block.filter != filter::X86_CALLS_AND_JUMPS;
            block.filter != 0 && (Some(block.filter) != of_machine || marked)
        };
        if let Some(block) = self.scan.blocks.iter().find(is_unknown) {
            let found = format!("{:#04x}, mark {:#04x}", block.filter, block.filter_cto);
            let expected =
                of_machine.map_or("no filter".into(), |filter| format!("filter {filter:#04x} or none"));
            self.scan.problem(UpxPart::BlockInfo, expected, found);
        }
    }

    /// UPX writes the stub directly after the blocks, with padding to a word before and after it.
    fn stub(&mut self, facts: &UpxFacts, header: &Header, segments: &[Segment], segment_end: u64) {
        let Some(loader) = &facts.loader else { return };
        // `l_lsize` counts whole words, so exactly one value is correct.
        let stub_start = segment_end.next_multiple_of(4).saturating_sub(loader.stub_size_bytes.into());
        let blocks_end = self.scan.cursor.next_multiple_of(4);
        if stub_start != blocks_end {
            self.scan.problem(
                UpxPart::Stub,
                format!("start at {blocks_end}, after the blocks"),
                format!("{stub_start}"),
            );
        }
        let first_block_at = loader.offset + LOADER_INFO_BYTES + PROGRAM_INFO_BYTES;
        let words = outer::words_before_stub(
            self.scan.bytes,
            header,
            segments,
            loader.format,
            first_block_at,
            self.scan.cursor,
        );
        if let Err(problem) = words {
            self.scan.problems.push(problem);
        }
        if !outer::is_zero(self.scan.bytes, segment_end, segment_end.next_multiple_of(4)) {
            self.scan.problem(UpxPart::PaddingAfterStub, "zeros", "other bytes");
        }
    }

    /// Compares sizes that are stored several times.
    fn cross_check(&mut self, facts: &UpxFacts, program_at: u64) {
        let sum = self.scan.unpacked_bytes;
        let largest = self.scan.blocks.iter().map(|block| block.unpacked_size_bytes).max().unwrap_or(0);
        if let Some(program) = &facts.program
            && program.block_size_bytes < largest
        {
            let found = program.block_size_bytes.to_string();
            self.scan.problem(
                UpxPart::ProgramInfoBlockSize,
                format!("at least {largest}, the size of the largest block"),
                found,
            );
        }
        if let Some(program) = &facts.program
            && u64::from(program.file_size_bytes) != sum
        {
            self.scan.problem(
                UpxPart::ProgramInfoSize,
                format!("{sum}, the sum of the blocks"),
                program.file_size_bytes.to_string(),
            );
        }
        let Some(pack) = &facts.pack_header else { return };
        if pack.checksum != pack.checksum_found {
            self.scan.problem(
                UpxPart::PackHeaderChecksum,
                pack.checksum_found.to_string(),
                pack.checksum.to_string(),
            );
        }
        if facts.loader.is_none() {
            return;
        }
        if u64::from(pack.file_size_bytes) != sum {
            self.scan.problem(
                UpxPart::PackHeaderSize,
                format!("{sum}, the sum of the blocks"),
                pack.file_size_bytes.to_string(),
            );
        }
        // 3.96 stores the lengths of the last data that it compressed, its own stub.
        let lengths = (u64::from(pack.unpacked_size_bytes), u64::from(pack.compressed_size_bytes));
        let expected = (sum, (self.scan.bytes.len() as u64).saturating_sub(TRAILER_BYTES));
        if pack.version > VERSION_OF_3_96 && lengths != expected {
            self.scan.problem(
                UpxPart::PackHeaderLengths,
                format!("{} unpacked, {} packed", expected.0, expected.1),
                format!("{} unpacked, {} packed", lengths.0, lengths.1),
            );
        }
        if u64::from(pack.overlay_offset) != program_at {
            self.scan.problem(
                UpxPart::OverlayOffset,
                format!("{program_at}, the position of p_info"),
                pack.overlay_offset.to_string(),
            );
        }
        if let Some(loader) = &facts.loader
            && (loader.version, loader.format) != (pack.version, pack.format)
        {
            let expected = format!("version {} format {}, as in the trailer", pack.version, pack.format);
            self.scan.problem(
                UpxPart::LoaderInfo,
                expected,
                format!("version {} format {}", loader.version, loader.format),
            );
        }
    }
}

/// The bytes after each PT_LOAD that belong to none, in the order of the segment table, which UPX keeps. It may differ from
/// the order in the file, because an empty PT_LOAD may have any offset.
fn gaps(loads: &[&Segment], file_size_bytes: u64) -> Vec<(u64, u64)> {
    let mut starts: Vec<u64> = loads.iter().map(|load| load.offset).collect();
    starts.sort_unstable();
    let gap_after = |load: &&Segment| {
        let end = load.offset.saturating_add(load.file_size_bytes);
        // An empty PT_LOAD ends where it starts; it is not its own successor.
        let skip = usize::from(load.file_size_bytes == 0);
        let next = starts.get(starts.partition_point(|&start| start < end) + skip);
        (end, next.copied().unwrap_or(file_size_bytes))
    };
    loads.iter().map(gap_after).filter(|(start, end)| start < end).collect()
}
