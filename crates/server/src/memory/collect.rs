//! Returns free memory of all threads to the kernel.
//!
//! mimalloc gives each thread a heap. A page whose blocks were freed by other threads stays with its thread until that
//! thread allocates or collects, and a thread that waits for work does neither. So a collection is *requested* for all
//! threads, and each one carries it out when it wakes up: [`run_if_due`] is called where threads wait for work.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much a collection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Returns memory that was free for the purge delay of mimalloc. For threads with work.
    Expired,
    /// Returns all free memory. For idle threads: the next request has to get the memory again.
    All,
}

/// Number of requests, times two; odd if the last one was for [`Depth::All`].
static REQUESTED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The value of [`REQUESTED`] at the last collection of this thread.
    static DONE: Cell<u64> = const { Cell::new(0) };
}

/// Requests a collection of every thread.
pub fn request(depth: Depth) {
    // One thread requests, so no request is lost.
    let next = (REQUESTED.load(Ordering::Relaxed) | 1) + 1 + u64::from(depth == Depth::All);
    REQUESTED.store(next, Ordering::Release);
}

/// Whether this thread has not carried out the last request. As cheap as two loads.
pub fn is_due() -> bool {
    DONE.get() != REQUESTED.load(Ordering::Acquire)
}

/// Carries out the last request, unless this thread has done so.
pub fn run_if_due() {
    let requested = REQUESTED.load(Ordering::Acquire);
    if DONE.replace(requested) == requested {
        return;
    }
    if requested % 2 == 1 {
        mimalloc_sys::collect();
    } else {
        mimalloc_sys::collect_expired();
    }
}

/// Held by tests that request: they are threads of one process, and each one expects its own request to be the last.
#[cfg(test)]
pub static TEST_REQUESTS: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_carries_out_each_request_once() {
        let _requests = TEST_REQUESTS.lock();
        let thread = || {
            std::thread::spawn(|| {
                let due = is_due();
                run_if_due();
                (due, is_due())
            })
            .join()
            .unwrap()
        };
        request(Depth::Expired);
        assert_eq!((thread(), thread()), ((true, false), (true, false)));
        run_if_due();
        assert!(!is_due());
        request(Depth::All);
        assert!(is_due() && REQUESTED.load(Ordering::Relaxed) % 2 == 1);
        request(Depth::Expired);
        assert_eq!(REQUESTED.load(Ordering::Relaxed) % 2, 0);
        run_if_due();
        assert!(!is_due());
    }
}
