//! The allocators of the comparison, each as a global allocator of Rust with the same few functions.
//!
//! All functions are `#[inline]`: they are then compiled in the program that uses them. Compiled here, several would be in one
//! object, and each program would link the archives of allocators that it does not use.
#![warn(missing_docs)]

mod musl;
mod snmalloc;

use std::alloc::GlobalAlloc;

pub use mimalloc_sys::MiMalloc;
pub use musl::{Mallocng, Oldmalloc};
pub use snmalloc::Snmalloc;
/// `malloc` of the libc that is linked: in zig 0.17 that is zig's SmpAllocator behind a header of 16 bytes.
pub use std::alloc::System as Libc;
pub use tikv_jemallocator::Jemalloc;

/// An allocator of the comparison.
pub trait Peer: GlobalAlloc {
    /// The name in tables.
    const NAME: &str;

    /// Returns free pages to the kernel; false when the allocator has no such function.
    fn purge() -> bool;
}

impl Peer for Libc {
    const NAME: &str = "libc";

    #[inline]
    fn purge() -> bool {
        false
    }
}

impl Peer for Mallocng {
    const NAME: &str = "mallocng";

    #[inline]
    fn purge() -> bool {
        false
    }
}

impl Peer for Oldmalloc {
    const NAME: &str = "oldmalloc";

    #[inline]
    fn purge() -> bool {
        false
    }
}

impl Peer for MiMalloc {
    const NAME: &str = "mimalloc";

    #[inline]
    fn purge() -> bool {
        mimalloc_sys::collect();
        true
    }
}

impl Peer for Jemalloc {
    const NAME: &str = "jemalloc";

    #[inline]
    fn purge() -> bool {
        // 4096 is MALLCTL_ARENAS_ALL.
        let name = c"arena.4096.purge";
        let (null, none) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the name ends in a zero byte, and this control reads and writes no value.
        unsafe { tikv_jemalloc_sys::mallctl(name.as_ptr(), null, none, null, 0) == 0 }
    }
}

impl Peer for Snmalloc {
    const NAME: &str = "snmalloc";

    #[inline]
    fn purge() -> bool {
        false
    }
}
