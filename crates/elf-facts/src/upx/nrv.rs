//! The NRV2B, NRV2D and NRV2E decompressors for bit buffers of little-endian 32-bit words, the variants of UPX stubs.
//!
//! Written from the description of the formats: a stream of control bits in 32-bit words, interleaved with literal bytes and
//! low offset bytes. The variants differ in the coding of match offsets and match lengths. The declared size bounds the
//! output and the block bounds the input, so time and memory are bounded for every input.

use crate::upx::error::DecompressError;

/// NRV2B, NRV2D or NRV2E.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Variant {
    B,
    D,
    E,
}

/// Marks the end of the stream where an offset is expected.
const END_OF_STREAM: u32 = u32::MAX;
/// The compressor cannot represent larger offsets.
const OFFSET_CODE_MAX: u32 = 0x00ff_ffff + 3;

pub(super) fn decompress(
    input: &[u8],
    size_bytes: usize,
    variant: Variant,
) -> Result<Vec<u8>, DecompressError> {
    let mut bits = Bits { input, at: 0, word: 0, left: 0 };
    // The declared size comes from the file, so the reservation is bounded by the input.
    let mut out = Vec::with_capacity(size_bytes.min(input.len().saturating_mul(64)));
    let mut last_offset = 1_usize;
    loop {
        while bits.next()? == 1 {
            if out.len() == size_bytes {
                return Err(DecompressError::TooLong { size_bytes });
            }
            out.push(bits.byte()?);
        }
        let code = offset_code(&mut bits, variant)?;
        let mut length_bit = None;
        let offset = if code == 2 {
            last_offset
        } else {
            let mut raw = (code - 3).wrapping_mul(256) | u32::from(bits.byte()?);
            if raw == END_OF_STREAM {
                break;
            }
            if variant != Variant::B {
                length_bit = Some(!raw & 1);
                raw >>= 1;
            }
            last_offset = raw as usize + 1;
            last_offset
        };
        let first_bit = match length_bit {
            Some(bit) => bit,
            None => bits.next()?,
        };
        let length = match_length(&mut bits, variant, first_bit)?;
        let far = if variant == Variant::B { 0xd00 } else { 0x500 };
        let length = length as usize + usize::from(offset > far) + 1;
        copy_match(&mut out, offset, length, size_bytes)?;
    }
    match out.len() == size_bytes && bits.at == input.len() {
        true => Ok(out),
        false => Err(DecompressError::WrongSize {
            expected_bytes: size_bytes,
            found_bytes: out.len(),
            unused_bytes: input.len() - bits.at,
        }),
    }
}

fn offset_code(bits: &mut Bits, variant: Variant) -> Result<u32, DecompressError> {
    let mut code = 1_u32;
    loop {
        code = code * 2 + bits.next()?;
        if code > OFFSET_CODE_MAX {
            return Err(DecompressError::BadOffset);
        }
        if bits.next()? == 1 {
            return Ok(code);
        }
        if variant != Variant::B {
            code = (code - 1) * 2 + bits.next()?;
        }
    }
}

fn match_length(bits: &mut Bits, variant: Variant, first_bit: u32) -> Result<u32, DecompressError> {
    match variant {
        Variant::B | Variant::D => match first_bit * 2 + bits.next()? {
            0 => Ok(long_length(bits)? + 2),
            length => Ok(length),
        },
        Variant::E if first_bit == 1 => Ok(1 + bits.next()?),
        Variant::E if bits.next()? == 1 => Ok(3 + bits.next()?),
        Variant::E => Ok(long_length(bits)? + 3),
    }
}

fn long_length(bits: &mut Bits) -> Result<u32, DecompressError> {
    let mut length = 1_u32;
    loop {
        length = length * 2 + bits.next()?;
        // No block is longer, and the doubling must not overflow.
        if length > 1 << 30 {
            return Err(DecompressError::BadLength);
        }
        if bits.next()? == 1 {
            return Ok(length);
        }
    }
}

fn copy_match(
    out: &mut Vec<u8>,
    offset: usize,
    length: usize,
    size_bytes: usize,
) -> Result<(), DecompressError> {
    let start = out.len().checked_sub(offset).ok_or(DecompressError::BadOffset)?;
    if length > size_bytes - out.len() {
        return Err(DecompressError::TooLong { size_bytes });
    }
    if offset >= length {
        out.extend_from_within(start..start + length);
        return Ok(());
    }
    // The match overlaps its own output and repeats the last `offset` bytes; each copy doubles the available range.
    let mut left = length;
    while left > 0 {
        let chunk = left.min(out.len() - start);
        out.extend_from_within(start..start + chunk);
        left -= chunk;
    }
    Ok(())
}

struct Bits<'a> {
    input: &'a [u8],
    at: usize,
    word: u32,
    left: u32,
}

impl Bits<'_> {
    fn byte(&mut self) -> Result<u8, DecompressError> {
        let byte = *self.input.get(self.at).ok_or(DecompressError::InputEnds)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline]
    fn next(&mut self) -> Result<u32, DecompressError> {
        if self.left == 0 {
            let raw = self.input.get(self.at..).and_then(|rest| rest.first_chunk::<4>());
            self.word = u32::from_le_bytes(*raw.ok_or(DecompressError::InputEnds)?);
            self.at += 4;
            self.left = 32;
        }
        self.left -= 1;
        Ok((self.word >> self.left) & 1)
    }
}
