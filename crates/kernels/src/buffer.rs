//! Aligned anonymous memory for packed weights and activations.
//!
//! Mapped from the kernel, not allocated: the pages of a dropped buffer return to the kernel at once, and a large buffer can
//! use huge pages. New memory is zero.

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// Alignment of small buffers: a cache line, which is also one register of AVX-512.
pub const ALIGNMENT: usize = 64;
/// The kernel maps whole pages.
const PAGE: usize = 4096;
/// Buffers of at least this size request huge pages.
const HUGE_PAGE: usize = 2 << 20;

/// Element types for which every bit pattern is a value and zero bytes are one.
///
/// # Safety
///
/// The type is a plain number without padding.
pub unsafe trait Element: Copy + Default + Send + Sync + 'static {}

// SAFETY: plain numbers.
unsafe impl Element for f32 {}
// SAFETY: plain numbers.
unsafe impl Element for u16 {}
// SAFETY: plain numbers.
unsafe impl Element for i32 {}
// SAFETY: plain numbers.
unsafe impl Element for u8 {}
// SAFETY: plain numbers.
unsafe impl Element for i8 {}

/// A slice of its own pages, aligned to [`ALIGNMENT`] at least.
pub struct Buffer<T: Element> {
    start: NonNull<T>,
    len: usize,
    mapped_bytes: usize,
    element: PhantomData<T>,
}

// SAFETY: owns its memory, as a `Vec` does.
unsafe impl<T: Element> Send for Buffer<T> {}
// SAFETY: as a `Vec`.
unsafe impl<T: Element> Sync for Buffer<T> {}

impl<T: Element> Default for Buffer<T> {
    fn default() -> Self {
        Buffer { start: NonNull::dangling(), len: 0, mapped_bytes: 0, element: PhantomData }
    }
}

impl<T: Element> Buffer<T> {
    /// `len` elements of zero. Fails when the kernel refuses the memory.
    pub fn zeroed(len: usize) -> io::Result<Self> {
        if len == 0 {
            return Ok(Buffer::default());
        }
        let bytes = len.checked_mul(size_of::<T>()).and_then(|bytes| bytes.checked_next_multiple_of(PAGE));
        let Some(mapped_bytes) = bytes else { return Err(io::ErrorKind::OutOfMemory.into()) };
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), mapped_bytes, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        if mapped_bytes >= HUGE_PAGE {
            // Without huge pages the buffer works as well, so a refusal is no error.
            // SAFETY: the range is the mapping above.
            let _ = unsafe { libc::madvise(start, mapped_bytes, libc::MADV_HUGEPAGE) };
        }
        let Some(start) = NonNull::new(start.cast()) else { return Err(io::ErrorKind::OutOfMemory.into()) };
        Ok(Buffer { start, len, mapped_bytes, element: PhantomData })
    }

    /// [`Buffer::bytes`] of a buffer with `len` elements, which is a possible length.
    pub fn bytes_of(len: usize) -> usize {
        (len * size_of::<T>()).next_multiple_of(PAGE)
    }

    /// Bytes of anonymous memory.
    pub fn bytes(&self) -> usize {
        self.mapped_bytes
    }
}

impl<T: Element> std::ops::Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements of a live mapping, or an empty slice; every bit pattern is a value.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Element> std::ops::DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`; the buffer is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Element> Drop for Buffer<T> {
    fn drop(&mut self) {
        if self.mapped_bytes > 0 {
            // SAFETY: the mapping is owned, and no slice of it outlives the buffer.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.mapped_bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_zero_aligned_and_writable_to_its_end() {
        for len in [1, 15, 4096, 1 << 20] {
            let mut buffer = Buffer::<f32>::zeroed(len).unwrap();
            assert!(buffer.iter().all(|v| *v == 0.0));
            assert_eq!(buffer.as_ptr().addr() % ALIGNMENT, 0);
            buffer[len - 1] = 1.0;
            assert_eq!(buffer.len(), len);
            assert!(buffer.bytes() >= 4 * len);
            assert_eq!(buffer.bytes(), Buffer::<f32>::bytes_of(len));
        }
        assert!(Buffer::<f32>::zeroed(0).unwrap().is_empty());
    }

    #[test]
    fn more_memory_than_addresses_is_an_error() {
        assert!(Buffer::<f32>::zeroed(usize::MAX).is_err());
        assert!(Buffer::<f32>::zeroed(1 << 60).is_err());
    }
}
