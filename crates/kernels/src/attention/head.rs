//! One head: scores, softmax and the sum of values, for a few rows at a time.

use super::operands::{Operands, Vectors};
use crate::gemm::Prefetch;
use crate::gemm::tile::{self, MAX_ROWS, MAX_VECTORS, Tile};
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::{self, LANES, Simd};
use crate::softmax::exponentials;

/// A head, its keys and values packed.
pub(super) struct Head<'a> {
    /// `[tokens, head_size]`
    pub queries: Matrix<'a, f32>,
    pub operands: Operands<'a>,
    /// Room for the scores of [`MAX_ROWS`] rows.
    pub scores: &'a mut [[f32; LANES]],
    /// `[tokens, head_size]`
    pub out: MatrixMut<'a, f32>,
}

impl Head<'_> {
    /// Computes all rows. A row has the same result in every tile.
    #[inline(always)]
    pub fn compute<S: Simd>(mut self, s: S) {
        let (tokens, head_size) = (self.queries.rows(), self.queries.columns());
        let width = tokens.div_ceil(LANES);
        for rows in tile::row_tiles::<S>(tokens) {
            let scores = &mut self.scores[..rows.len() * width];
            let queries = self.queries.part(rows.clone(), 0..head_size);
            let out = MatrixMut::new(scores.as_flattened_mut(), rows.len(), width * LANES, width * LANES);
            multiply(s, queries, self.operands.keys(), out);

            let mut scales = [0.0; MAX_ROWS];
            for (row, scale) in scores.chunks_exact_mut(width).zip(&mut scales) {
                *scale = 1.0 / exponentials(s, row, tokens);
            }

            let weights = Matrix::new(scores.as_flattened(), rows.len(), tokens, width * LANES);
            let mut out = self.out.rows_mut(rows);
            add_values(s, weights, &self.operands, out.reborrow());
            for (row, scale) in (0..out.rows()).zip(scales) {
                let (row, scale) = (out.row_mut(row), s.splat(scale));
                for at in (0..head_size).step_by(LANES) {
                    simd::store_at(s, row, at, s.mul(simd::load_at(s, row, at), scale));
                }
            }
        }
    }
}

/// The sum of the values with these weights.
#[inline(always)]
fn add_values<S: Simd>(s: S, weights: Matrix<'_, f32>, operands: &Operands<'_>, out: MatrixMut<'_, f32>) {
    let values = operands.values();
    let (whole, mut rest) = out.split_columns(values.count * LANES);
    multiply(s, weights, values, whole);
    if rest.columns() > 0 {
        let mut sums = [0.0; MAX_ROWS * LANES];
        let columns = rest.columns();
        multiply(s, weights, operands.last_values(), MatrixMut::new(&mut sums, rest.rows(), LANES, LANES));
        for (row, sums) in (0..rest.rows()).zip(sums.chunks_exact(LANES)) {
            rest.row_mut(row).copy_from_slice(&sums[..columns]);
        }
    }
}

/// `out = a * b` for the rows of one tile. The columns of `out` are the vectors of `b`.
#[inline(always)]
fn multiply<S: Simd>(s: S, a: Matrix<'_, f32>, b: Vectors<'_>, mut out: MatrixMut<'_, f32>) {
    /// What the sums start with.
    static ZEROS: [f32; MAX_VECTORS * LANES] = [0.0; MAX_VECTORS * LANES];
    assert!(a.columns() == b.rows && (out.rows(), out.columns()) == (a.rows(), b.count * LANES));
    for vector in (0..b.count).step_by(tile::vectors::<S>()) {
        let from = b.start.wrapping_add(vector * b.column_stride);
        let tile = Tile {
            a: a.as_ptr(),
            a_stride: a.stride(),
            b: from,
            b_step: b.row_stride,
            b_next: b.column_stride,
            inner: b.rows,
            start: ZEROS.as_ptr(),
            start_stride: 0,
            c: out.as_mut_ptr().wrapping_add(vector * LANES),
            c_stride: out.stride(),
            add: false,
            prefetch: Prefetch::none(from),
        };
        // SAFETY: the rows are those of one tile; `a` has a column for each row of `b`, and `out` all vectors of `b`.
        unsafe { tile::compute(s, a.rows(), tile::vectors::<S>().min(b.count - vector), tile) };
    }
}
