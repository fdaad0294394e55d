//! mimalloc as Rust's allocator. Six functions of it are declared by hand; nothing is built or found here (see `build.rs`).
//!
//! musl's own allocator takes one lock for all threads. C code of the program (OpenBLAS, libc itself) keeps using that one:
//! mimalloc is compiled without its override of `malloc`, so no block is ever handed from one to the other.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

unsafe extern "C" {
    fn mi_malloc_aligned(size: usize, alignment: usize) -> *mut c_void;
    fn mi_zalloc_aligned(size: usize, alignment: usize) -> *mut c_void;
    fn mi_realloc_aligned(block: *mut c_void, size: usize, alignment: usize) -> *mut c_void;
    fn mi_free(block: *mut c_void);
    fn mi_collect(force: bool);
}

/// Gives free pages back to the kernel now. mimalloc does so by itself, but only while it is being asked for memory: what
/// loading leaves would stay with an idle program.
pub fn collect() {
    // SAFETY: callable at any time from any thread; takes its own locks.
    unsafe { mi_collect(true) }
}

/// To be named in `#[global_allocator]`, once in a program.
pub struct MiMalloc;

// SAFETY: mimalloc gives blocks of at least the asked size and alignment or null, keeps their content up to the smaller of
// both sizes when it moves one, and frees any of its blocks from any thread. It does not unwind. `Layout` promises a
// power of two for the alignment, which is all that mimalloc asks of it.
unsafe impl GlobalAlloc for MiMalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see above.
        unsafe { mi_malloc_aligned(layout.size(), layout.align()).cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: see above; the block is all zero.
        unsafe { mi_zalloc_aligned(layout.size(), layout.align()).cast() }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the block came from here with this layout; null leaves it as it was.
        unsafe { mi_realloc_aligned(block.cast(), size, layout.align()).cast() }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller promises that the block came from here and is not used any more.
        unsafe { mi_free(block.cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: MiMalloc = MiMalloc;

    #[test]
    fn blocks_are_aligned_zeroed_and_keep_their_content_when_they_move() {
        for align in [1, 8, 16, 64, 4096, 1 << 20] {
            let layout = Layout::from_size_align(100, align).unwrap();
            // SAFETY: the layouts are those of the blocks, which are freed once.
            unsafe {
                let block = ALLOCATOR.alloc_zeroed(layout);
                assert!(!block.is_null() && block.addr().is_multiple_of(align));
                assert!((0..100).all(|index| *block.add(index) == 0));
                block.write_bytes(7, 100);
                let moved = ALLOCATOR.realloc(block, layout, 1 << 20);
                assert!(!moved.is_null() && moved.addr().is_multiple_of(align));
                assert!((0..100).all(|index| *moved.add(index) == 7));
                ALLOCATOR.dealloc(moved, Layout::from_size_align(1 << 20, align).unwrap());
            }
        }
    }

    #[test]
    fn blocks_are_freed_by_other_threads() {
        let blocks: Vec<Vec<u8>> = (0..1000).map(|n| vec![n as u8; n * 10]).collect();
        let sum = std::thread::spawn(move || blocks.iter().map(Vec::len).sum::<usize>()).join().unwrap();
        assert_eq!(sum, 4_995_000);
    }

    #[test]
    fn what_cannot_be_had_is_null() {
        let layout = Layout::from_size_align(isize::MAX as usize - 4096, 8).unwrap();
        // SAFETY: a block that is not there is not used.
        assert!(unsafe { ALLOCATOR.alloc(layout) }.is_null());
    }
}
