//! Both allocators of musl, which zig's libc leaves out, under names of their own.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

unsafe extern "C" {
    fn mallocng_malloc(size: usize) -> *mut c_void;
    fn mallocng_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn mallocng_free(block: *mut c_void);
    fn mallocng_aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
    fn oldmalloc_malloc(size: usize) -> *mut c_void;
    fn oldmalloc_realloc(block: *mut c_void, size: usize) -> *mut c_void;
    fn oldmalloc_free(block: *mut c_void);
    fn oldmalloc_aligned_alloc(alignment: usize, size: usize) -> *mut c_void;
}

/// musl's allocator since 1.2.1.
pub struct Mallocng;

/// musl's allocator before that; `./configure --with-malloc=oldmalloc`.
pub struct Oldmalloc;

/// The alignment of every block of musl's allocators.
const ALIGNMENT: usize = 16;

macro_rules! global_allocator {
    ($name:ident: $malloc:ident, $realloc:ident, $free:ident, $aligned_alloc:ident) => {
        // SAFETY: the functions have the contract of `malloc`, `realloc`, `free` and `aligned_alloc` of C: null, or a block
        // of the size and alignment. A block that is more aligned is moved by hand, because `realloc` would not keep that.
        unsafe impl GlobalAlloc for $name {
            #[inline]
            unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
                match layout.align() {
                    // SAFETY: any size is valid.
                    0..=ALIGNMENT => unsafe { $malloc(layout.size()).cast() },
                    // SAFETY: the alignment of a `Layout` is a power of two.
                    align => unsafe { $aligned_alloc(align, layout.size()).cast() },
                }
            }

            #[inline]
            unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
                // SAFETY: the caller guarantees that this allocator returned the block and that nothing uses it.
                unsafe { $free(block.cast()) }
            }

            #[inline]
            unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
                if layout.align() <= ALIGNMENT {
                    // SAFETY: the caller guarantees that this allocator returned the block.
                    return unsafe { $realloc(block.cast(), size).cast() };
                }
                // SAFETY: the caller guarantees that the size, rounded up to the alignment, does not overflow.
                let moved = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
                // SAFETY: the size is not zero, as the caller guarantees.
                let moved = unsafe { self.alloc(moved) };
                if !moved.is_null() {
                    // SAFETY: both blocks have at least the smaller of both sizes, and they are different blocks.
                    unsafe { block.copy_to_nonoverlapping(moved, layout.size().min(size)) };
                    // SAFETY: as above; the block is not used any more.
                    unsafe { self.dealloc(block, layout) };
                }
                moved
            }
        }
    };
}

global_allocator!(Mallocng: mallocng_malloc, mallocng_realloc, mallocng_free, mallocng_aligned_alloc);
global_allocator!(Oldmalloc: oldmalloc_malloc, oldmalloc_realloc, oldmalloc_free, oldmalloc_aligned_alloc);
