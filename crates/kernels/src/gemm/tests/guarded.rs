//! Memory that ends at a page that cannot be accessed, so that an access past the end crashes.

use std::ptr::NonNull;

const PAGE: usize = 4096;

/// Floats whose last one is followed by an inaccessible page.
pub struct Guarded {
    mapping: NonNull<u8>,
    bytes: usize,
    len: usize,
}

impl Guarded {
    pub fn new(contents: &[f32]) -> Self {
        let bytes = size_of_val(contents).next_multiple_of(PAGE);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address that the kernel chooses.
        let mapping =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes + PAGE, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(mapping, libc::MAP_FAILED);
        if bytes > 0 {
            // SAFETY: all pages of the mapping but the last one.
            let changed = unsafe { libc::mprotect(mapping, bytes, libc::PROT_READ | libc::PROT_WRITE) };
            assert_eq!(changed, 0);
        }
        let mut guarded =
            Guarded { mapping: NonNull::new(mapping.cast()).unwrap(), bytes, len: contents.len() };
        guarded.copy_from_slice(contents);
        guarded
    }

    fn start(&self) -> *mut f32 {
        self.mapping.as_ptr().wrapping_add(self.bytes - self.len * size_of::<f32>()).cast()
    }
}

impl std::ops::Deref for Guarded {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the last `len` floats before the inaccessible page; the length in bytes is a multiple of the alignment.
        unsafe { std::slice::from_raw_parts(self.start(), self.len) }
    }
}

impl std::ops::DerefMut for Guarded {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping is owned.
        unsafe { libc::munmap(self.mapping.as_ptr().cast(), self.bytes + PAGE) };
    }
}
