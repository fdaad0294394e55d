//! Reads the layout of a packed file from front to back, and notes everything that does not fit together.
//!
//! | where | what |
//! |---|---|
//! | behind the outer program headers | `l_info`, `p_info`, then the block of the original headers |
//! | then | one run of blocks for each original PT_LOAD, the stub |
//! | from the end of the stub's segment on | blocks for the bytes between the PT_LOADs, an end marker |
//! | last 36 bytes | PackHeader, offset of `p_info` |
//!
//! Cost is bounded by the file: a block takes at least its own header, and only the first one is decompressed here.

use super::{
    Block, Inner, InnerHeaders, LoaderInfo, PackHeader, Part, Problem, ProgramInfo, UpxFacts, adler32,
    decompress, filter, outer, u32_at,
};
use crate::facts::{Header, PT_LOAD, Segment, inspect_headers};

const MAGIC: u32 = u32::from_le_bytes(*b"UPX!");
const LOADER_INFO_BYTES: u64 = 12;
const PROGRAM_INFO_BYTES: u64 = 12;
const TRAILER_BYTES: u64 = 36;
/// The layout number of UPX 3.9x; 4.x writes 14.
const VERSION_OF_3_96: u8 = 13;
/// Original headers beyond this size would be tens of thousands of segments; the loader refuses those long before.
const INNER_HEADERS_BYTES_MAX: u32 = 1 << 20;

/// Nothing when no mark of UPX is there. One mark of the two is enough: a file that lost its trailer still runs.
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
    let mut walk = Walk { bytes, problems: Vec::new(), blocks: Vec::new(), cursor: 0, unpacked_bytes: 0 };
    let mut facts = UpxFacts {
        loader: None,
        program: None,
        blocks: Vec::new(),
        pack_header: None,
        compressed_adler_found: None,
        inner: Inner::Unreadable(Problem::new(
            Part::LoaderInfo,
            "`UPX!` behind the program headers",
            "other bytes: where the first block is cannot be told",
        )),
        problems: Vec::new(),
    };
    if has_trailer {
        facts.pack_header = trailer_at.and_then(|at| pack_header(bytes, at));
    }
    if facts.pack_header.is_none() {
        walk.problem(
            Part::Trailer,
            "a PackHeader 36 bytes before the end",
            "none: the end of the file is cut or overwritten",
        );
    }
    match has_loader {
        true => walk.front(&mut facts, header, segments, loader_at),
        false => walk.problem(
            Part::LoaderInfo,
            format!("`UPX!` at offset {}", loader_at.saturating_add(4)),
            "other bytes",
        ),
    }
    walk.cross_check(&facts, loader_at.saturating_add(LOADER_INFO_BYTES));
    facts.compressed_adler_found = walk.compressed_adler();
    facts.blocks = walk.blocks;
    facts.problems = walk.problems;
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

struct Walk<'a> {
    bytes: &'a [u8],
    problems: Vec<Problem>,
    blocks: Vec<Block>,
    cursor: u64,
    /// Sum over the blocks; also where the next byte of the original would go if there were no gaps.
    unpacked_bytes: u64,
}

impl Walk<'_> {
    fn problem(&mut self, part: Part, expected: impl Into<String>, found: impl Into<String>) {
        self.problems.push(Problem::new(part, expected, found));
    }

    fn front(&mut self, facts: &mut UpxFacts, header: &Header, segments: &[Segment], loader_at: u64) {
        let Some(loader) = self.loader_info(header, segments, loader_at) else {
            return self.problem(Part::LoaderInfo, "12 bytes", "the end of the file");
        };
        facts.loader = Some(loader);
        let program_at = loader_at + LOADER_INFO_BYTES;
        let (Some(file_size_bytes), Some(block_size_bytes)) =
            (u32_at(self.bytes, program_at + 4), u32_at(self.bytes, program_at + 8))
        else {
            return self.problem(Part::ProgramInfo, "12 bytes", "the end of the file");
        };
        facts.program = Some(ProgramInfo { file_size_bytes, block_size_bytes });
        if u32_at(self.bytes, program_at) != Some(0) {
            self.problem(Part::ProgramInfo, "a program id of 0", "another one");
        }
        self.cursor = program_at + PROGRAM_INFO_BYTES;
        match self.inner_headers() {
            Ok((inner, inner_bytes)) => {
                self.body(facts, &inner, segments, header);
                self.filters(facts.loader.as_ref().and_then(|loader| filter::of_format(loader.format)));
                let is_version_13 =
                    facts.loader.as_ref().is_some_and(|loader| loader.version == VERSION_OF_3_96);
                self.problems.extend(outer::headers(
                    self.bytes,
                    &inner,
                    &inner_bytes,
                    segments,
                    is_version_13,
                ));
                facts.inner = Inner::Read(inner);
            }
            Err(found) => {
                let problem = Problem::new(Part::FirstBlock, "the original program headers", found);
                self.problems.push(problem.clone());
                facts.inner = Inner::Unreadable(problem);
            }
        }
    }

    fn loader_info(&self, header: &Header, segments: &[Segment], at: u64) -> Option<LoaderInfo> {
        let stub_adler = u32_at(self.bytes, at)?;
        let sizes = u32_at(self.bytes, at + 8)?.to_le_bytes();
        Some(LoaderInfo {
            offset: at,
            stub_adler,
            stub_adler_found: outer::stub(self.bytes, header, segments, sizes[3]).map(adler32),
            stub_size_bytes: u16::from_le_bytes([sizes[0], sizes[1]]),
            version: sizes[2],
            format: sizes[3],
        })
    }

    fn inner_headers(&mut self) -> Result<(InnerHeaders, Vec<u8>), String> {
        let block = self.block(0).ok_or("the file ends before the block does")?;
        if block.unpacked_size_bytes > INNER_HEADERS_BYTES_MAX {
            return Err(format!("a block of {} bytes", block.unpacked_size_bytes));
        }
        let headers = decompress::block(self.bytes, &block).map_err(|error| error.to_string())?;
        let (header, segments) = inspect_headers(&headers).map_err(|error| error.to_string())?;
        if header.program_headers_end > headers.len() as u64 {
            return Err(format!("program headers that end at byte {}", header.program_headers_end));
        }
        Ok((InnerHeaders { header, segments }, headers))
    }

    /// The blocks of the segments, the stub, and the blocks of the gaps between segments.
    fn body(&mut self, facts: &UpxFacts, inner: &InnerHeaders, segments: &[Segment], header: &Header) {
        let headers_bytes = self.unpacked_bytes;
        let file_size_bytes = facts.program.as_ref().map_or(0, |program| u64::from(program.file_size_bytes));
        let loads = inner.segments.iter().filter(|segment| segment.kind_number == PT_LOAD);
        let loads: Vec<&Segment> = loads.collect();
        for load in &loads {
            let start = if load.offset == 0 { headers_bytes } else { load.offset };
            let end = load.offset.saturating_add(load.file_size_bytes);
            if end > file_size_bytes {
                return self.problem(
                    Part::InnerLoad,
                    format!("an end within {file_size_bytes}"),
                    format!("{end}"),
                );
            }
            if self.run(start, end).is_none() {
                return;
            }
        }
        let Some(entry) = outer::entry_segment(header, segments) else {
            return self.problem(
                Part::Entry,
                "inside of an executable PT_LOAD",
                format!("{:#x}", header.entry),
            );
        };
        let segment_end = entry.offset.saturating_add(entry.file_size_bytes);
        if segment_end > self.bytes.len() as u64 {
            let expected = format!("an end of the stub within {} bytes", self.bytes.len());
            return self.problem(Part::Stub, expected, segment_end.to_string());
        }
        self.stub(facts, header, segments, segment_end);
        self.cursor = segment_end.next_multiple_of(4);
        for (start, end) in gaps(&loads, file_size_bytes) {
            if self.run(start, end).is_none() {
                return;
            }
        }
        self.end_marker();
    }

    /// One filter for each machine, or none. Only that of x86 has a mark.
    fn filters(&mut self, of_machine: Option<u8>) {
        let is_odd = |block: &&Block| {
            let marked = block.filter_cto != 0 && block.filter != filter::X86_CALLS_AND_JUMPS;
            block.filter != 0 && (Some(block.filter) != of_machine || marked)
        };
        if let Some(block) = self.blocks.iter().find(is_odd) {
            let found = format!("{:#04x}, mark {:#04x}", block.filter, block.filter_cto);
            let expected =
                of_machine.map_or("no filter".into(), |filter| format!("filter {filter:#04x} or none"));
            self.problem(Part::BlockInfo, expected, found);
        }
    }

    /// UPX writes blocks and stub without a seam, but may pad to a word before the stub, and behind it.
    fn stub(&mut self, facts: &UpxFacts, header: &Header, segments: &[Segment], segment_end: u64) {
        let Some(loader) = &facts.loader else { return };
        // `l_lsize` counts whole words, so that one value alone is right.
        let stub_start = segment_end.next_multiple_of(4).saturating_sub(loader.stub_size_bytes.into());
        let blocks_end = self.cursor.next_multiple_of(4);
        if stub_start != blocks_end {
            self.problem(
                Part::Stub,
                format!("start at {blocks_end} behind the blocks"),
                format!("{stub_start}"),
            );
        }
        let first_block_at = loader.offset + LOADER_INFO_BYTES + PROGRAM_INFO_BYTES;
        let words = outer::words_before_stub(
            self.bytes,
            header,
            segments,
            loader.format,
            first_block_at,
            self.cursor,
        );
        if let Err(problem) = words {
            self.problems.push(problem);
        }
        if !outer::is_zero(self.bytes, segment_end, segment_end.next_multiple_of(4)) {
            self.problem(Part::PaddingBehindStub, "zeros", "other bytes");
        }
    }

    /// Reads blocks until they cover `start..end` of the original.
    fn run(&mut self, start: u64, end: u64) -> Option<()> {
        let mut at = start;
        while at < end {
            let block_at = self.cursor;
            let Some(block) = self.block(at) else {
                self.problem(
                    Part::Block,
                    format!("a block at {block_at} for bytes {at}..{end}"),
                    "none that fits the file",
                );
                return None;
            };
            at += u64::from(block.unpacked_size_bytes);
            if at > end {
                self.problem(Part::Block, format!("an end at {end} of the original"), format!("{at}"));
                return None;
            }
        }
        Some(())
    }

    fn block(&mut self, output_offset: u64) -> Option<Block> {
        let flags = u32_at(self.bytes, self.cursor.checked_add(8)?)?.to_le_bytes();
        let block = Block {
            offset: self.cursor,
            output_offset,
            unpacked_size_bytes: u32_at(self.bytes, self.cursor)?,
            packed_size_bytes: u32_at(self.bytes, self.cursor + 4)?,
            method: flags[0],
            filter: flags[1],
            filter_cto: flags[2],
        };
        // A stored block has no method and no filter, the headers have no filter, and the last byte has no meaning.
        let is_odd = (block.is_stored() && flags != [0; 4])
            || (self.blocks.is_empty() && flags[1..] != [0; 3])
            || (block.filter == 0 && block.filter_cto != 0)
            || flags[3] != 0;
        if is_odd {
            self.problem(
                Part::BlockInfo,
                "no method for stored bytes, no filter for headers",
                format!("{flags:?}"),
            );
        }
        let is_sane = block.unpacked_size_bytes > 0 && block.packed_size_bytes <= block.unpacked_size_bytes;
        if !is_sane || block.data(self.bytes)?.is_empty() {
            return None;
        }
        self.cursor = block.end();
        self.unpacked_bytes += u64::from(block.unpacked_size_bytes);
        self.blocks.push(block.clone());
        Some(block)
    }

    fn end_marker(&mut self) {
        let at = self.cursor;
        let found = [u32_at(self.bytes, at), u32_at(self.bytes, at + 4), u32_at(self.bytes, at + 8)];
        if found != [Some(0), Some(MAGIC), Some(0)] {
            return self.problem(Part::EndMarker, format!("{{0, `UPX!`, 0}} at {at}"), "other bytes");
        }
        let trailer_at = (at + 12).next_multiple_of(4);
        let found = (self.bytes.len() as u64).saturating_sub(TRAILER_BYTES);
        if !outer::is_zero(self.bytes, at + 12, trailer_at) {
            self.problem(Part::PaddingBeforeTrailer, "zeros", "other bytes");
        }
        if found != trailer_at {
            self.problem(
                Part::Trailer,
                format!("right behind the end marker, at {trailer_at}"),
                format!("at {found}"),
            );
        }
    }

    /// Over all compressed data in file order; nothing when there are no blocks to sum.
    fn compressed_adler(&self) -> Option<u32> {
        let mut adler = simd_adler32::Adler32::new();
        for block in &self.blocks {
            adler.write(block.data(self.bytes)?);
        }
        if self.blocks.is_empty() { None } else { Some(adler.finish()) }
    }

    fn cross_check(&mut self, facts: &UpxFacts, program_at: u64) {
        let sum = self.unpacked_bytes;
        let largest = self.blocks.iter().map(|block| block.unpacked_size_bytes).max().unwrap_or(0);
        if let Some(program) = &facts.program
            && program.block_size_bytes < largest
        {
            let found = program.block_size_bytes.to_string();
            self.problem(Part::ProgramInfoBlockSize, format!("{largest} at least, the largest block"), found);
        }
        if let Some(program) = &facts.program
            && u64::from(program.file_size_bytes) != sum
        {
            self.problem(
                Part::ProgramInfoSize,
                format!("{sum}, the sum of the blocks"),
                program.file_size_bytes.to_string(),
            );
        }
        let Some(pack) = &facts.pack_header else { return };
        if pack.checksum != pack.checksum_found {
            self.problem(
                Part::PackHeaderChecksum,
                pack.checksum_found.to_string(),
                pack.checksum.to_string(),
            );
        }
        if facts.loader.is_none() {
            return;
        }
        if u64::from(pack.file_size_bytes) != sum {
            self.problem(
                Part::PackHeaderSize,
                format!("{sum}, the sum of the blocks"),
                pack.file_size_bytes.to_string(),
            );
        }
        // 3.96 left the lengths of the last thing that it compressed, its own stub.
        let lengths = (u64::from(pack.unpacked_size_bytes), u64::from(pack.compressed_size_bytes));
        let expected = (sum, (self.bytes.len() as u64).saturating_sub(TRAILER_BYTES));
        if pack.version > VERSION_OF_3_96 && lengths != expected {
            self.problem(
                Part::PackHeaderLengths,
                format!("{} unpacked, {} packed", expected.0, expected.1),
                format!("{} unpacked, {} packed", lengths.0, lengths.1),
            );
        }
        if u64::from(pack.overlay_offset) != program_at {
            self.problem(
                Part::OverlayOffset,
                format!("{program_at}, where p_info is"),
                pack.overlay_offset.to_string(),
            );
        }
        if let Some(loader) = &facts.loader
            && (loader.version, loader.format) != (pack.version, pack.format)
        {
            let expected = format!("version {} format {}, as in the trailer", pack.version, pack.format);
            self.problem(
                Part::LoaderInfo,
                expected,
                format!("version {} format {}", loader.version, loader.format),
            );
        }
    }
}

/// The bytes behind each PT_LOAD that belong to none, in the order in which UPX keeps them: that of the table, which
/// need not be the order in the file (an empty PT_LOAD may point anywhere).
fn gaps(loads: &[&Segment], file_size_bytes: u64) -> Vec<(u64, u64)> {
    let mut starts: Vec<u64> = loads.iter().map(|load| load.offset).collect();
    starts.sort_unstable();
    let gap_behind = |load: &&Segment| {
        let end = load.offset.saturating_add(load.file_size_bytes);
        // An empty PT_LOAD ends where it starts, and must not be taken for its own successor.
        let skip = usize::from(load.file_size_bytes == 0);
        let next = starts.get(starts.partition_point(|&start| start < end) + skip);
        (end, next.copied().unwrap_or(file_size_bytes))
    };
    loads.iter().map(gap_behind).filter(|(start, end)| start < end).collect()
}
