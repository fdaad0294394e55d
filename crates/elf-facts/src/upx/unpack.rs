//! Restores the original file from a packed one, in memory and without UPX.
//!
//! `upx -d` shares code with the packer, so a mistake could cancel itself out. This implementation is independent, and it
//! verifies both checksums that UPX stores over the data.

use crate::upx::decompress;
use crate::upx::error::UnpackError;
use crate::upx::filter;
use crate::upx::types::UpxFacts;

/// Unpacks `bytes`; `facts` must come from the same bytes.
pub fn unpack(bytes: &[u8], facts: &UpxFacts, limit_bytes: u64) -> Result<Vec<u8>, UnpackError> {
    if let Some(problem) = facts.problems.first() {
        return Err(UnpackError::Layout(problem.to_string()));
    }
    let (Some(program), Some(pack)) = (&facts.program, &facts.pack_header) else {
        return Err(UnpackError::Layout("a header is missing".into()));
    };
    let size_bytes = u64::from(program.file_size_bytes);
    let mut out = match usize::try_from(size_bytes) {
        Ok(size) if size_bytes <= limit_bytes => vec![0; size],
        _ => return Err(UnpackError::TooLarge { size_bytes, limit_bytes }),
    };
    let mut unpacked_adler = simd_adler32::Adler32::new();
    for block in &facts.blocks {
        let offset = block.offset;
        let mut data =
            decompress::block(bytes, block).map_err(|error| UnpackError::Block { offset, error })?;
        if block.filter != 0 {
            let filter = block.filter;
            let undone = filter::undo(&mut data, filter, block.filter_cto);
            let changed = undone.ok_or(UnpackError::UnknownFilter { offset, filter })?;
            // UPX never names a filter that changes nothing, so the byte was edited.
            changed.then_some(()).ok_or(UnpackError::IdleFilter { offset, filter })?;
        }
        unpacked_adler.write(&data);
        let start = block.output_offset as usize;
        let place = out.get_mut(start..start.saturating_add(data.len()));
        let place = place
            .ok_or_else(|| UnpackError::Layout(format!("the block at {offset} lies outside of the file")))?;
        place.copy_from_slice(&data);
    }
    let compressed = facts.compressed_adler_found.unwrap_or_default();
    check("compressed data", pack.compressed_adler, compressed)?;
    check("unpacked data", pack.unpacked_adler, unpacked_adler.finish())?;
    Ok(out)
}

fn check(what: &'static str, expected: u32, found: u32) -> Result<(), UnpackError> {
    if expected == found { Ok(()) } else { Err(UnpackError::Checksum { what, expected, found }) }
}
