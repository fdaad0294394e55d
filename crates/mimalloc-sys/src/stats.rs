//! Counters of mimalloc.
//!
//! A release build keeps the counters of pages and of memory from the kernel, and leaves out those of single allocations.
//! Counters of pages are per thread: those of another thread are included up to its last collection.

use std::mem::zeroed;

/// `mi_stat_count_t`
#[repr(C)]
struct Count {
    total: i64,
    peak: i64,
    current: i64,
}

/// `MI_BIN_HUGE + 1`
const BINS: usize = 74;
/// `MI_CBIN_COUNT`
const CHUNK_BINS: usize = 6;
/// `MI_STAT_VERSION`
const VERSION: usize = 5;

/// `mi_stats_t`. mimalloc compares size and version with its own and writes nothing when they differ.
#[repr(C)]
struct RawStats {
    size: usize,
    version: usize,
    pages: Count,
    reserved: Count,
    committed: Count,
    reset: i64,
    purged: i64,
    page_committed: Count,
    pages_abandoned: Count,
    /// Threads and bytes of blocks.
    blocks: [Count; 4],
    /// Calls of the kernel and numbers of blocks, from `mmap_calls` on.
    mmap_calls: i64,
    counters: [i64; 13],
    /// Segments of older versions, heaps.
    heaps: [Count; 6],
    reclaimed: [i64; 5],
    reserved_counts: [Count; 4],
    reserved_counters: [i64; 4],
    malloc_bins: [Count; BINS],
    page_bins: [Count; BINS],
    chunk_bins: [Count; CHUNK_BINS],
}

unsafe extern "C" {
    fn mi_stats_get(stats: *mut RawStats) -> bool;
}

/// The state of the allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Reserved address space.
    pub reserved_bytes: u64,
    /// Memory that was in use once. On Linux returned memory stays in this number: `MADV_DONTNEED` needs no new commit.
    pub committed_bytes: u64,
    /// Memory returned to the kernel with `MADV_FREE`, since the start.
    pub reset_bytes: u64,
    /// Memory returned to the kernel with any call, since the start.
    pub purged_bytes: u64,
    /// Pages of the allocator (64 KiB and more) that hold blocks.
    pub pages: u64,
    /// Those of them that no thread owns, because it has ended or the page was full.
    pub pages_abandoned: u64,
}

/// The counters; `None` when mimalloc has another layout of them.
pub fn stats() -> Option<Stats> {
    // SAFETY: all fields are integers.
    let mut raw: RawStats = unsafe { zeroed() };
    (raw.size, raw.version) = (size_of::<RawStats>(), VERSION);
    // SAFETY: `raw` is writable and has the size that its field states.
    let is_written = unsafe { mi_stats_get(&raw mut raw) };
    let bytes = |value: i64| u64::try_from(value).unwrap_or(0);
    is_written.then(|| Stats {
        reserved_bytes: bytes(raw.reserved.current),
        committed_bytes: bytes(raw.committed.current),
        reset_bytes: bytes(raw.reset),
        purged_bytes: bytes(raw.purged),
        pages: bytes(raw.pages.current),
        pages_abandoned: bytes(raw.pages_abandoned.current),
    })
}
