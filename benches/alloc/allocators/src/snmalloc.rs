//! snmalloc. Not through the crate `snmalloc-sys`: its build script links libgcc_s and libstdc++, which a static program of zig
//! does not have. The same C++ source compiles without a C++ library, so the pipeline compiles it.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

unsafe extern "C" {
    fn sn_rust_alloc(alignment: usize, size: usize) -> *mut c_void;
    fn sn_rust_alloc_zeroed(alignment: usize, size: usize) -> *mut c_void;
    fn sn_rust_dealloc(block: *mut c_void, alignment: usize, size: usize);
    fn sn_rust_realloc(block: *mut c_void, alignment: usize, old_size: usize, new_size: usize)
    -> *mut c_void;
}

/// snmalloc.
pub struct Snmalloc;

// SAFETY: these are the functions that snmalloc exports for this trait. They take alignment and size of a `Layout`, and return
// null or a block of that layout.
unsafe impl GlobalAlloc for Snmalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the alignment of a `Layout` is a power of two.
        unsafe { sn_rust_alloc(layout.align(), layout.size()).cast() }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the alignment of a `Layout` is a power of two.
        unsafe { sn_rust_alloc_zeroed(layout.align(), layout.size()).cast() }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees that this allocator returned the block with this layout.
        unsafe { sn_rust_dealloc(block.cast(), layout.align(), layout.size()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; the new size is not zero.
        unsafe { sn_rust_realloc(block.cast(), layout.align(), layout.size(), size).cast() }
    }
}
