//! mimalloc as Rust's global allocator. The crate declares the C functions that it uses; it builds nothing (see
//! `build.rs`).
//!
//! The libc has an allocator of its own; docs/allocator.md compares both. C code of the program (OpenBLAS, libc) uses that one: mimalloc
//! is compiled without its override of `malloc`, so no block passes from one allocator to the other.
//!
//! ```no_run
//! #[global_allocator]
//! static ALLOCATOR: mimalloc_sys::MiMalloc = mimalloc_sys::MiMalloc;
//! ```
#![warn(missing_docs)]

mod stats;

pub use stats::{Stats, stats};

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_void;

unsafe extern "C" {
    fn mi_malloc_aligned(size: usize, alignment: usize) -> *mut c_void;
    fn mi_zalloc_aligned(size: usize, alignment: usize) -> *mut c_void;
    fn mi_realloc_aligned(block: *mut c_void, size: usize, alignment: usize) -> *mut c_void;
    fn mi_free(block: *mut c_void);
    fn mi_collect(force: bool);
}

/// Returns free pages to the kernel: those of the calling thread, and those that no thread owns.
///
/// mimalloc does this itself, but only during allocations: an idle program would keep the memory that it has freed. Pages
/// that another thread owns are not collected, although all of their blocks may be free: each thread must call this.
pub fn collect() {
    // SAFETY: the function is callable at any time from any thread and takes its own locks.
    unsafe { mi_collect(true) }
}

/// As [`collect`], at a lower cost: full pages are not visited, and only memory that was free for the purge delay is returned.
pub fn collect_expired() {
    // SAFETY: as in `collect`.
    unsafe { mi_collect(false) }
}

/// The allocator for `#[global_allocator]`.
pub struct MiMalloc;

// SAFETY: mimalloc returns null or a block of at least the requested size and alignment, preserves the content up to the
// smaller of both sizes when it moves a block, and frees its blocks from any thread. It does not unwind. `Layout` guarantees
// that the alignment is a power of two, the only requirement of mimalloc.
unsafe impl GlobalAlloc for MiMalloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the alignment of a `Layout` is a power of two.
        unsafe { mi_malloc_aligned(layout.size(), layout.align()).cast() }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the alignment of a `Layout` is a power of two; mimalloc zeroes the block.
        unsafe { mi_zalloc_aligned(layout.size(), layout.align()).cast() }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller guarantees that this allocator returned the block with this layout; on failure mimalloc returns
        // null and leaves the block unchanged.
        unsafe { mi_realloc_aligned(block.cast(), size, layout.align()).cast() }
    }

    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller guarantees that this allocator returned the block and that it is not used afterwards.
        unsafe { mi_free(block.cast()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: MiMalloc = MiMalloc;

    #[test]
    fn blocks_are_aligned_and_zeroed_and_keep_their_content_on_reallocation() {
        for align in [1, 8, 16, 64, 4096, 1 << 20] {
            let layout = Layout::from_size_align(100, align).unwrap();
            // SAFETY: the size of the layout is not zero.
            let block = unsafe { ALLOCATOR.alloc_zeroed(layout) };
            assert!(!block.is_null() && block.addr().is_multiple_of(align));
            // SAFETY: the block has 100 initialized bytes, and no other reference to it exists.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block, 100) };
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes.fill(7);
            // SAFETY: the block has this layout and is not used afterwards; the new size is not zero.
            let moved = unsafe { ALLOCATOR.realloc(block, layout, 1 << 20) };
            assert!(!moved.is_null() && moved.addr().is_multiple_of(align));
            // SAFETY: reallocation preserves the first 100 bytes.
            let bytes = unsafe { std::slice::from_raw_parts(moved, 100) };
            assert!(bytes.iter().all(|byte| *byte == 7));
            // SAFETY: the block has this layout and is not used afterwards.
            unsafe { ALLOCATOR.dealloc(moved, Layout::from_size_align(1 << 20, align).unwrap()) };
        }
    }

    #[test]
    fn blocks_can_be_freed_by_other_threads() {
        let blocks: Vec<Vec<u8>> = (0..1000).map(|n| vec![n as u8; n * 10]).collect();
        let sum = std::thread::spawn(move || blocks.iter().map(Vec::len).sum::<usize>()).join().unwrap();
        assert_eq!(sum, 4_995_000);
    }

    /// Other tests of this process allocate at the same time, hence the wide margin.
    #[test]
    fn counts_the_pages_of_a_large_allocation_and_the_purge_after_its_end() {
        const BYTES: usize = 64 << 20;
        let before = stats().unwrap();
        let blocks: Vec<Vec<u8>> = (0..BYTES / 1024).map(|_| vec![1; 1024]).collect();
        collect();
        let during = stats().unwrap();
        assert!(
            during.committed_bytes >= BYTES as u64 && during.pages > before.pages,
            "{before:?} {during:?}"
        );
        drop(blocks);
        collect();
        let after = stats().unwrap();
        assert!(after.purged_bytes >= during.purged_bytes + BYTES as u64 / 2, "{during:?} {after:?}");
        assert!(after.pages < during.pages, "{during:?} {after:?}");
    }

    unsafe extern "C" {
        fn mi_options_print_out(out: extern "C" fn(*const std::ffi::c_char, *mut c_void), arg: *mut c_void);
    }

    extern "C" fn append(text: *const std::ffi::c_char, arg: *mut c_void) {
        // SAFETY: mimalloc passes a string with an end.
        let text = unsafe { std::ffi::CStr::from_ptr(text) };
        // SAFETY: the pointer that `options` passes, to a string without another reference during the call.
        let all = unsafe { &mut *arg.cast::<String>() };
        all.push_str(&text.to_string_lossy());
    }

    /// Name and value of every option, as the library that is linked has them.
    fn options() -> std::collections::HashMap<String, String> {
        let mut all = String::new();
        // SAFETY: `append` gets a pointer to `all`, which outlives the call.
        unsafe { mi_options_print_out(append, (&raw mut all).cast()) };
        let lines = all.lines().filter_map(|line| line.split_once("option '")?.1.split_once("': "));
        lines.map(|(name, value)| (name.to_string(), value.trim().to_string())).collect()
    }

    /// The rows of the table "setting of mimalloc": the name, and the value without the note in parentheses.
    fn documented() -> Vec<(String, String)> {
        let page = include_str!("../../../docs/server.md");
        let table = page.split_once("| setting of mimalloc |").unwrap().1;
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        rows.map(|row| {
            let mut cells = row.split('|').skip(1).map(str::trim);
            let (name, value) = (cells.next().unwrap(), cells.next().unwrap());
            (name.trim_matches('`').to_string(), value.split(" (").next().unwrap().to_string())
        })
        .collect()
    }

    #[test]
    fn the_options_of_the_linked_library_are_those_of_the_documentation() {
        let (options, documented) = (options(), documented());
        assert_eq!(documented.len(), 5);
        for (name, value) in documented {
            let found = options.get(&name).unwrap_or_else(|| panic!("no option `{name}` in {options:?}"));
            let expected = match value.as_str() {
                "1000 ms" => "1000",
                "1 GiB" => "1048576 KiB",
                value => value,
            };
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn an_impossible_size_returns_null() {
        let layout = Layout::from_size_align(isize::MAX as usize - 4096, 8).unwrap();
        // SAFETY: the result is only compared with null.
        assert!(unsafe { ALLOCATOR.alloc(layout) }.is_null());
    }
}
