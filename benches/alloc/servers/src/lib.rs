//! What the programs in `src/bin` share: `malloc` of C code, sent to mimalloc.
#![warn(missing_docs)]

use std::sync::atomic::{AtomicU64, Ordering};

#[doc(hidden)]
pub mod mi {
    use std::ffi::c_void;

    unsafe extern "C" {
        pub fn mi_malloc(size: usize) -> *mut c_void;
        pub fn mi_calloc(count: usize, size: usize) -> *mut c_void;
        pub fn mi_realloc(block: *mut c_void, size: usize) -> *mut c_void;
        pub fn mi_free(block: *mut c_void);
        pub fn mi_memalign(alignment: usize, size: usize) -> *mut c_void;
        pub fn mi_posix_memalign(block: *mut *mut c_void, alignment: usize, size: usize) -> i32;
        pub fn mi_usable_size(block: *const c_void) -> usize;
    }
}

/// Calls of `malloc`, `calloc`, `realloc` and the aligned ones.
pub static CALLS: AtomicU64 = AtomicU64::new(0);
/// Calls of 64 KiB or more, which zig's SmpAllocator maps one by one.
pub static LARGE_CALLS: AtomicU64 = AtomicU64::new(0);
/// Bytes of the large calls.
pub static LARGE_BYTES: AtomicU64 = AtomicU64::new(0);

/// Counts one call.
pub fn count(size: usize) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    if size >= 64 << 10 {
        LARGE_CALLS.fetch_add(1, Ordering::Relaxed);
        LARGE_BYTES.fetch_add(size as u64, Ordering::Relaxed);
    }
}

/// Does not count.
pub fn ignore(_size: usize) {}

/// Defines the allocation functions of C. Those of zig's libc are weak, so the linker takes these.
#[macro_export]
macro_rules! define_malloc {
    ($observe:path) => {
        #[unsafe(no_mangle)]
        unsafe extern "C" fn malloc(size: usize) -> *mut std::ffi::c_void {
            $observe(size);
            // SAFETY: any size is valid.
            unsafe { $crate::mi::mi_malloc(size) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut std::ffi::c_void {
            $observe(count.saturating_mul(size));
            // SAFETY: mimalloc checks the product.
            unsafe { $crate::mi::mi_calloc(count, size) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn realloc(block: *mut std::ffi::c_void, size: usize) -> *mut std::ffi::c_void {
            $observe(size);
            // SAFETY: every block of C comes from mimalloc.
            unsafe { $crate::mi::mi_realloc(block, size) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn free(block: *mut std::ffi::c_void) {
            // SAFETY: every block of C comes from mimalloc.
            unsafe { $crate::mi::mi_free(block) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn memalign(alignment: usize, size: usize) -> *mut std::ffi::c_void {
            $observe(size);
            // SAFETY: mimalloc checks the alignment.
            unsafe { $crate::mi::mi_memalign(alignment, size) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut std::ffi::c_void {
            $observe(size);
            // SAFETY: mimalloc checks the alignment.
            unsafe { $crate::mi::mi_memalign(alignment, size) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn posix_memalign(
            block: *mut *mut std::ffi::c_void,
            alignment: usize,
            size: usize,
        ) -> std::ffi::c_int {
            $observe(size);
            // SAFETY: the caller provides the place of the result; mimalloc checks the alignment.
            unsafe { $crate::mi::mi_posix_memalign(block, alignment, size) }
        }

        #[unsafe(no_mangle)]
        unsafe extern "C" fn malloc_usable_size(block: *mut std::ffi::c_void) -> usize {
            // SAFETY: every block of C comes from mimalloc.
            unsafe { $crate::mi::mi_usable_size(block) }
        }
    };
}
