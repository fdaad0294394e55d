//! Some adjacent columns of a product, for all rows.

use super::epilogue::{Epilogue, activate};
use super::prefetch::Prefetch;
use super::tile::{self, MAX_ROWS, MAX_VECTORS, Tile, row_tiles};
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::{LANES, Simd};

/// The columns that one row of tiles computes, at most [`tile::vectors`] times 16. Distances are in floats.
pub(super) struct Block<'a, 'b> {
    /// The left operand, `[rows, inner]`.
    pub a: Matrix<'a, f32>,
    /// The first vector of the right operand for `k = 0`.
    pub b: *const f32,
    /// From the vectors for one `k` to those for the next.
    pub b_step: usize,
    /// From the first vector for one `k` to the second.
    pub b_next: usize,
    /// What the sums start with, a multiple of 16 columns.
    pub bias: &'a [f32],
    /// What happens to the sums.
    pub epilogue: Epilogue,
    /// `[rows, columns]`
    pub out: MatrixMut<'b, f32>,
    /// What the next block reads, to be prefetched.
    pub next: &'a [f32],
}

impl Block<'_, '_> {
    /// Computes all rows.
    ///
    /// # Safety
    ///
    /// Whole vectors of `b` can be read for each `k`, as many as `out` has columns, rounded up.
    #[inline(always)]
    pub unsafe fn compute<S: Simd>(mut self, s: S) {
        let columns = self.out.columns();
        let vectors = columns.div_ceil(LANES);
        assert!(vectors <= tile::vectors::<S>() && vectors * LANES <= self.bias.len());
        assert!(self.a.rows() == self.out.rows());
        let tiles = row_tiles::<S>(self.out.rows());
        let count = tiles.len();
        for (i, rows) in tiles.enumerate() {
            let tile = Tile {
                a: self.a.as_ptr().wrapping_add(rows.start * self.a.stride()),
                a_stride: self.a.stride(),
                b: self.b,
                b_step: self.b_step,
                b_next: self.b_next,
                inner: self.a.columns(),
                start: self.bias.as_ptr(),
                start_stride: 0,
                c: self.out.as_mut_ptr().wrapping_add(rows.start * self.out.stride()),
                c_stride: self.out.stride(),
                add: self.epilogue == Epilogue::AddTo,
                prefetch: Prefetch::share(self.next, self.a.columns(), i, count),
            };
            if columns == vectors * LANES {
                // SAFETY: whole vectors of `out`; the caller has the promise for `b`.
                unsafe { compute_tile(s, rows.len(), vectors, tile, self.epilogue) };
            } else {
                let mut scratch = [0.0; MAX_ROWS * MAX_VECTORS * LANES];
                let stride = MAX_VECTORS * LANES;
                let mut out = self.out.rows_mut(rows.clone());
                for (row, copy) in scratch.chunks_exact_mut(stride).enumerate().take(rows.len()) {
                    copy[..columns].copy_from_slice(out.row_mut(row));
                }
                let in_scratch = Tile { c: scratch.as_mut_ptr(), c_stride: stride, ..tile };
                // SAFETY: the scratch has the rows and vectors of the largest tile; the caller has the promise for `b`.
                unsafe { compute_tile(s, rows.len(), vectors, in_scratch, self.epilogue) };
                for (row, copy) in scratch.chunks_exact(stride).enumerate().take(rows.len()) {
                    out.row_mut(row).copy_from_slice(&copy[..columns]);
                }
            }
        }
    }
}

/// Computes a tile, then its activation while it is in L1: a second pass over a tile costs about 1 % of a product with 384
/// values of `k`, and one copy of the activation serves all sizes of tiles.
///
/// # Safety
///
/// As for [`tile::compute`].
#[inline(always)]
unsafe fn compute_tile<S: Simd>(s: S, rows: usize, vectors: usize, tile: Tile, epilogue: Epilogue) {
    // SAFETY: as the caller promises.
    unsafe { tile::compute(s, rows, vectors, tile) };
    // SAFETY: as the caller promises; the tile has written all the elements.
    unsafe { activate(s, epilogue, tile.c, tile.c_stride, rows, vectors) };
}
