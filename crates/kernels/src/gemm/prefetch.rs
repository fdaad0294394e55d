//! Prefetching of the weights that the next tiles read.
//!
//! Weights of a model do not fit L2, and hardware prefetchers do not follow from one group of panels to the next: without
//! requests in advance, the first tile of each group waits for memory.

use crate::simd::LANES;

/// Floats of a cache line.
const LINE: usize = 64 / size_of::<f32>();

/// Memory that a tile prefetches into L2 while it computes: the same number of floats for each `k`.
#[derive(Clone, Copy)]
pub(crate) struct Prefetch {
    start: *const f32,
    /// Floats for each `k`.
    step: usize,
}

impl Prefetch {
    /// Nothing that is not in the cache already: `start` is what the tile reads anyway.
    pub fn none(start: *const f32) -> Self {
        Prefetch { start, step: 0 }
    }

    /// The share of one of `tiles` tiles in `weights`; a tile has `inner` values of `k`.
    pub fn share(weights: &[f32], inner: usize, tile: usize, tiles: usize) -> Self {
        Self::share_of(weights.as_ptr(), weights.len(), inner, tile, tiles)
    }

    /// As [`Prefetch::share`], for weights of any type that begin at `start` and have the size of `floats` floats.
    pub fn share_of(start: *const f32, floats: usize, inner: usize, tile: usize, tiles: usize) -> Self {
        Prefetch { start: start.wrapping_add(floats * tile / tiles), step: floats / (inner * tiles).max(1) }
    }

    /// Whether one request for each `k` covers all lines.
    pub fn is_at_most_a_line(self) -> bool {
        self.step <= LINE
    }

    /// What the first `k` requests.
    pub fn start(self) -> *const u8 {
        self.start.cast()
    }

    /// Bytes from the requests of a `k` to those of the `count`-th after it.
    pub fn bytes_of(self, count: usize) -> usize {
        self.step * count * size_of::<f32>()
    }

    /// The requests for one `k`.
    #[inline(always)]
    pub fn request<const LINES: usize>(self, k: usize) {
        // With several tiles the step is less than these lines, and some requests repeat one before. A load port is free for them.
        for line in 0..LINES {
            prefetch(self.start.wrapping_add(k * self.step + line * LINE));
        }
    }
}

/// Requests one line for L2. An address that is not mapped is ignored.
#[inline(always)]
fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: every x86-64 CPU has the instruction, and it accesses no memory that a program could observe.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

const _: () = assert!(LINE == LANES, "a vector is a line");
