//! Slices of untrusted bytes and their text form.

/// The range `offset..offset + size`, or `None` when it does not lie in `bytes`.
pub(crate) fn slice(bytes: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    bytes.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}

/// The little-endian 32-bit word at `offset`.
pub(crate) fn u32_at(bytes: &[u8], offset: u64) -> Option<u32> {
    let start = usize::try_from(offset).ok()?;
    Some(u32::from_le_bytes(bytes.get(start..start.checked_add(4)?)?.try_into().ok()?))
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Words of a file with its byte order and class.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) is_little_endian: bool,
    pub(crate) class_bits: u8,
}

impl Words<'_> {
    pub(crate) fn u32_at(self, offset: u64) -> Option<u32> {
        let raw = *slice(self.bytes, offset, 4)?.first_chunk()?;
        Some(if self.is_little_endian { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) })
    }

    /// A pointer of the class.
    pub(crate) fn pointer_at(self, offset: u64) -> Option<u64> {
        if self.class_bits == 32 {
            return self.u32_at(offset).map(u64::from);
        }
        let raw = *slice(self.bytes, offset, 8)?.first_chunk()?;
        Some(if self.is_little_endian { u64::from_le_bytes(raw) } else { u64::from_be_bytes(raw) })
    }

    pub(crate) fn pointer_bytes(self) -> u64 {
        u64::from(self.class_bits / 8)
    }
}
