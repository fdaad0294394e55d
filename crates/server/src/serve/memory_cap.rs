//! `--memory-max` at run time: a request is rejected instead of growing the process beyond the bound.
//!
//! Compared is the resident memory of the process, anonymous and mapped: what `ps` shows, and what the kernel counts against
//! a limit, except for page cache that it can drop without loss. The usage of the cgroup would include the cache of files
//! of other processes; to subtract it, one more file has to be read and parsed.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::purge_request::PurgeRequest;
use crate::memory::memory_max::MemoryBound;
use crate::memory::resident::ResidentReader;

/// Age up to which a reading is used again.
const READING_AGE_MAX: Duration = Duration::from_millis(5);
/// Attempts to free memory at the bound are not more frequent than this.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(100);

/// Compares the memory of the process with its bound.
pub struct MemoryCap {
    bound: MemoryBound,
    resident: ResidentReader,
    purge: PurgeRequest,
    started: Instant,
    /// The last reading, and its time in microseconds since `started`.
    reading: AtomicU64,
    read_at: AtomicU64,
    attempted_at: AtomicU64,
    is_logged: AtomicBool,
    rejected: AtomicU64,
}

/// The bound would be exceeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryFull {
    pub resident: u64,
    pub bound: u64,
}

impl MemoryCap {
    /// A bound, and the thread that returns memory.
    pub fn new(bound: MemoryBound, purge: PurgeRequest) -> std::io::Result<Self> {
        Ok(Self {
            bound,
            resident: ResidentReader::open()?,
            purge,
            started: Instant::now(),
            reading: AtomicU64::new(0),
            read_at: AtomicU64::new(0),
            attempted_at: AtomicU64::new(0),
            is_logged: AtomicBool::new(false),
            rejected: AtomicU64::new(0),
        })
    }

    /// The bound.
    pub fn bound(&self) -> &MemoryBound {
        &self.bound
    }

    /// Rejected requests.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::Relaxed)
    }

    /// Whether `bytes` more fit. At the bound it first returns free memory to the kernel.
    pub fn check(&self, bytes: u64) -> Result<(), MemoryFull> {
        let resident = self.recent_bytes();
        if self.fits(resident, bytes) {
            self.is_logged.store(false, Ordering::Relaxed);
            return Ok(());
        }
        if self.is_first_in(&self.attempted_at, ATTEMPT_INTERVAL) {
            // This thread's heap and the memory of no thread, at once; the other heaps when their threads are idle.
            mimalloc_sys::collect();
            self.purge.at_limit();
        }
        let resident = self.resident.bytes().unwrap_or(resident);
        self.reading.store(resident, Ordering::Relaxed);
        if self.fits(resident, bytes) {
            return Ok(());
        }
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let bound = self.bound.bytes;
        if !self.is_logged.swap(true, Ordering::Relaxed) {
            tracing::warn!(resident, bound, source = %self.bound.source, "memory_max_reached");
        }
        Err(MemoryFull { resident, bound })
    }

    fn fits(&self, resident: u64, bytes: u64) -> bool {
        resident.saturating_add(bytes) <= self.bound.bytes
    }

    fn recent_bytes(&self) -> u64 {
        if self.is_first_in(&self.read_at, READING_AGE_MAX)
            && let Some(bytes) = self.resident.bytes()
        {
            self.reading.store(bytes, Ordering::Relaxed);
        }
        self.reading.load(Ordering::Relaxed)
    }

    /// Whether `time` has passed since this was true for `last`. True for one of concurrent callers.
    fn is_first_in(&self, last: &AtomicU64, time: Duration) -> bool {
        // 0 means never.
        let now = self.started.elapsed().as_micros() as u64 + 1;
        let before = last.load(Ordering::Relaxed);
        (before == 0 || now - before.min(now) >= time.as_micros() as u64)
            && last.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cap(bytes: u64) -> MemoryCap {
        let bound = MemoryBound { bytes, source: "test".into(), is_explicit: true };
        MemoryCap::new(bound, PurgeRequest::default()).unwrap()
    }

    #[test]
    fn rejects_what_does_not_fit_and_counts_it() {
        let full = cap(1 << 20);
        let error = full.check(0).unwrap_err();
        assert!(error.resident > error.bound && error.bound == 1 << 20);
        assert_eq!((full.rejected(), full.check(0).is_err(), full.rejected()), (1, true, 2));
        let free = cap(1 << 50);
        assert_eq!((free.check(1 << 20), free.rejected()), (Ok(()), 0));
        assert!(free.check(1 << 50).is_err() && free.check(u64::MAX).is_err());
    }
}
