//! The global allocator: mimalloc, with a reserve for the time when memory runs out.
//!
//! Most code cannot handle a failed allocation: `Vec::push` ends the process. Therefore [`hold_reserve`] maps a range that
//! stays unused. The first allocation that fails unmaps it and is tried again, so that the requests in the server can finish
//! from that memory; [`is_exhausted`] then makes the server reject new ones until [`has_recovered`].
//!
//! When even that does not help, a small allocation ends the process here. No code handles its failure, and std would first
//! print its own message, which needs memory and can block on stderr. A large one fails with null, for code that calls
//! `try_reserve`. Either way the failure is recorded, so that the crash report has its size. A panic is not permitted here.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use mimalloc_sys::MiMalloc;

use super::output::now_ms;

/// Enough for the requests in progress to end with an error; a request above that fails in `try_reserve`. The range is
/// never touched, so it takes address space only.
const RESERVE_BYTES: usize = 32 << 20;

/// Buffers of the size of a request. Callers of `try_reserve` request them; smaller ones fail only when nothing works.
const FALLIBLE_BYTES_MIN: usize = 1 << 20;

/// Address of the reserve; 0 without one.
static RESERVE: AtomicUsize = AtomicUsize::new(0);
/// The reserve was used.
static IS_EXHAUSTED: AtomicBool = AtomicBool::new(false);

/// An allocation that failed.
#[derive(Debug, Clone, Copy)]
pub struct Failure {
    pub bytes: usize,
    at_ms: i64,
}

thread_local! {
    /// Without a destructor: a signal handler can read it at any time.
    static LAST_FAILURE: Cell<Failure> = const { Cell::new(Failure { bytes: 0, at_ms: 0 }) };
}

/// Time between a failed allocation and the abort that it causes.
const ABORT_WITHIN_MS: i64 = 1000;

/// The allocation that the calling thread aborts for; `None` when none has failed just now.
pub fn failure_of_this_abort() -> Option<Failure> {
    Some(LAST_FAILURE.get())
        .filter(|failure| failure.bytes != 0 && now_ms() - failure.at_ms < ABORT_WITHIN_MS)
}

/// Maps the reserve. False when the system has no memory for it.
pub fn hold_reserve() -> bool {
    if RESERVE.load(Ordering::Acquire) == 0 {
        let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping at an address that the kernel chooses. Writable, so that it counts against each limit that an
        // allocation counts against.
        let start = unsafe { libc::mmap(ptr::null_mut(), RESERVE_BYTES, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return false;
        }
        if RESERVE.compare_exchange(0, start.addr(), Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: the mapping is ours; another thread has installed its own.
            unsafe { libc::munmap(start, RESERVE_BYTES) };
        }
    }
    IS_EXHAUSTED.store(false, Ordering::Release);
    true
}

/// Whether memory of the size of the reserve is available again: as the reserve, or inside of the allocator, which keeps what
/// it got from the kernel.
pub fn has_recovered() -> bool {
    hold_reserve() || Vec::<u8>::new().try_reserve_exact(RESERVE_BYTES).is_ok()
}

/// Whether an allocation has failed since the reserve was mapped.
pub fn is_exhausted() -> bool {
    IS_EXHAUSTED.load(Ordering::Acquire)
}

/// True for the thread that has released the reserve.
fn release_reserve() -> bool {
    let start = RESERVE.swap(0, Ordering::AcqRel);
    if start == 0 {
        return false;
    }
    IS_EXHAUSTED.store(true, Ordering::Release);
    // SAFETY: the swap made this thread the only owner of the mapping, which has no user.
    unsafe { libc::munmap(start as *mut libc::c_void, RESERVE_BYTES) };
    true
}

/// The allocator for `#[global_allocator]`.
pub struct Allocator;

impl Allocator {
    /// Tries again with the memory of the reserve. Another thread that has just released it leaves memory for this one too.
    #[cold]
    #[inline(never)]
    fn retry(bytes: usize, allocate: impl Fn() -> *mut u8) -> *mut u8 {
        if release_reserve() || is_exhausted() {
            let block = allocate();
            if !block.is_null() {
                return block;
            }
        }
        // The largest: std's message about a failed allocation can cause more.
        let earlier = failure_of_this_abort().filter(|earlier| earlier.bytes > bytes);
        LAST_FAILURE.set(earlier.unwrap_or(Failure { bytes, at_ms: now_ms() }));
        if bytes < FALLIBLE_BYTES_MIN {
            // SAFETY: abort has no preconditions.
            unsafe { libc::abort() }
        }
        ptr::null_mut()
    }
}

// SAFETY: every block comes from mimalloc and goes back to it, with the arguments of the caller. Nothing unwinds.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of the same method.
        let allocate = || unsafe { MiMalloc.alloc(layout) };
        let block = allocate();
        if block.is_null() { Self::retry(layout.size(), allocate) } else { block }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of the same method.
        let allocate = || unsafe { MiMalloc.alloc_zeroed(layout) };
        let block = allocate();
        if block.is_null() { Self::retry(layout.size(), allocate) } else { block }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of the same method; after a failure the block is unchanged.
        let allocate = || unsafe { MiMalloc.realloc(block, layout, size) };
        let moved = allocate();
        if moved.is_null() { Self::retry(size, allocate) } else { moved }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of the same method.
        unsafe { MiMalloc.dealloc(block, layout) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_uses_the_reserve_once_and_is_recorded_when_that_does_not_help() {
        // SAFETY: the block is not used; a size that no machine has is not allocated.
        let allocate = || unsafe { Allocator.alloc(Layout::from_size_align(1 << 50, 8).unwrap()) };
        assert!(hold_reserve() && !is_exhausted());
        assert!(allocate().is_null());
        assert_eq!((is_exhausted(), failure_of_this_abort().unwrap().bytes), (true, 1 << 50));
        assert_eq!(RESERVE.load(Ordering::Acquire), 0);
        assert!(hold_reserve() && !is_exhausted());
    }

    #[test]
    fn only_the_thread_of_the_failure_aborts_because_of_it() {
        LAST_FAILURE.set(Failure { bytes: 1, at_ms: now_ms() });
        assert!(std::thread::spawn(|| failure_of_this_abort().is_none()).join().unwrap());
        LAST_FAILURE.set(Failure { bytes: 1, at_ms: now_ms() - ABORT_WITHIN_MS });
        assert!(failure_of_this_abort().is_none());
    }
}
