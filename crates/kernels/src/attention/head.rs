//! One head: scores, softmax and the sum of values, for a block of queries at a time.
//!
//! The lanes of a vector are queries, so softmax has no sum or maximum across lanes, and no lane is a key that does not exist.

use super::operands::{KeysValues, pack_queries};
use crate::activation;
use crate::gemm::Prefetch;
use crate::gemm::tile::{self, MAX_ROWS, MAX_VECTORS, Tile};
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::{self, LANES, Simd};

/// A head, its keys and values packed.
pub(super) struct Head<'a> {
    /// `[tokens, head_size]`
    pub queries: Matrix<'a, f32>,
    pub keys_values: KeysValues<'a>,
    /// Room for [`MAX_VECTORS`] vectors of queries: `[head_size]` for each.
    pub packed_queries: &'a mut [[f32; LANES]],
    /// Room for the scores of [`MAX_VECTORS`] vectors of queries: as many for each key.
    pub scores: &'a mut [[f32; LANES]],
    /// `[tokens, head_size]`
    pub out: MatrixMut<'a, f32>,
}

impl Head<'_> {
    /// Computes all rows. A row has the same result in every block.
    #[inline(always)]
    pub fn compute<S: Simd>(mut self, s: S) {
        let (tokens, head_size) = (self.queries.rows(), self.queries.columns());
        let block = tile::vectors::<S>() * LANES;
        for first in (0..tokens).step_by(block) {
            let rows = first..tokens.min(first + block);
            let vectors = rows.len().div_ceil(LANES);
            let packed = &mut self.packed_queries[..vectors * head_size];
            pack_queries(s, self.queries.part(rows.clone(), 0..head_size), packed);
            let scores = &mut self.scores[..tokens * vectors];
            multiply_keys(s, &self.keys_values, packed, vectors, scores);
            let mut scales = [[0.0; LANES]; MAX_VECTORS];
            for (vector, scale) in scales.iter_mut().enumerate().take(vectors) {
                let sum = exponentials(s, scores, vector, vectors);
                simd::store(s, scale, s.div(s.splat(1.0), sum));
            }
            let out = self.out.rows_mut(rows);
            add_values(s, scores, vectors, &self.keys_values, scales.as_flattened(), out);
        }
    }
}

/// `scores = keys * queries^T`: for each key a vector for each vector of queries.
#[inline(always)]
fn multiply_keys<S: Simd>(
    s: S,
    operands: &KeysValues<'_>,
    queries: &[[f32; LANES]],
    vectors: usize,
    scores: &mut [[f32; LANES]],
) {
    let (tokens, head_size) = (operands.tokens(), operands.head_size());
    assert!(queries.len() == vectors * head_size && scores.len() == tokens * vectors);
    let (queries, scores) = (queries.as_flattened(), scores.as_flattened_mut());
    for rows in tile::row_tiles::<S>(tokens) {
        let tile = Tile {
            a: operands.keys()[rows.start * operands.width()..].as_ptr(),
            a_stride: operands.width(),
            b: queries.as_ptr(),
            b_step: LANES,
            b_next: head_size * LANES,
            inner: head_size,
            start: ZEROS.as_ptr(),
            start_stride: 0,
            c: scores[rows.start * vectors * LANES..].as_mut_ptr(),
            c_stride: vectors * LANES,
            add: false,
            prefetch: Prefetch::none(queries.as_ptr()),
        };
        // SAFETY: `keys` has `width` floats for each row and at least one for each `k`; `queries` has `vectors` vectors for each
        // `k`, and `scores` as many for each row, by the assertion above.
        unsafe { tile::compute(s, rows.len(), vectors, tile) };
    }
}

/// What the sums of products start with.
static ZEROS: [f32; MAX_VECTORS * LANES] = [0.0; MAX_VECTORS * LANES];

/// Chains of maxima: one alone would wait for the latency of each.
const CHAINS: usize = 4;

/// Replaces the scores of one vector of queries by `e^(score - largest)`; returns their sums. Subtracting the largest score
/// prevents an overflow. A NaN among the scores of a query makes its sum NaN.
#[inline(always)]
fn exponentials<S: Simd>(s: S, scores: &mut [[f32; LANES]], vector: usize, vectors: usize) -> S::F32 {
    let mut largest = [s.splat(f32::NEG_INFINITY); CHAINS];
    let mut groups = scores.chunks_exact(CHAINS * vectors);
    for group in &mut groups {
        for chain in 0..CHAINS {
            largest[chain] = s.max(simd::load(s, &group[chain * vectors + vector]), largest[chain]);
        }
    }
    for key in groups.remainder().chunks_exact(vectors) {
        largest[0] = s.max(simd::load(s, &key[vector]), largest[0]);
    }
    let largest = s.max(s.max(largest[0], largest[1]), s.max(largest[2], largest[3]));

    // One chain: the exponential takes longer than the latency of an addition.
    let mut sum = s.splat(0.0);
    for key in 0..scores.len() / vectors {
        let score = &mut scores[key * vectors + vector];
        let e = activation::exp_up_to_88(s, s.sub(simd::load(s, score), largest));
        simd::store(s, score, e);
        sum = s.add(sum, e);
    }
    sum
}

/// `out = weights^T * values`, each row times its scale. The weights have `vectors` vectors of queries for each key; the rows of
/// `out` are the first of these queries.
#[inline(always)]
fn add_values<S: Simd>(
    s: S,
    weights: &[[f32; LANES]],
    vectors: usize,
    operands: &KeysValues<'_>,
    scales: &[f32],
    mut out: MatrixMut<'_, f32>,
) {
    let (tokens, head_size) = (operands.tokens(), operands.head_size());
    assert!(weights.len() == tokens * vectors && out.rows() <= vectors * LANES);
    assert!(out.columns() == head_size && scales.len() >= out.rows());
    let weights = weights.as_flattened();
    for rows in tile::row_tiles::<S>(out.rows()) {
        for column in (0..head_size).step_by(tile::vectors::<S>() * LANES) {
            let columns = column..head_size.min(column + tile::vectors::<S>() * LANES);
            let mut sums = [[0.0; LANES]; MAX_ROWS * MAX_VECTORS];
            let tile = Tile {
                a: weights[rows.start..].as_ptr(),
                a_stride: vectors * LANES,
                b: operands.values()[column..].as_ptr(),
                b_step: operands.width(),
                b_next: LANES,
                inner: tokens,
                start: ZEROS.as_ptr(),
                start_stride: 0,
                c: sums.as_flattened_mut().as_mut_ptr(),
                c_stride: MAX_VECTORS * LANES,
                add: false,
                prefetch: Prefetch::none(ZEROS.as_ptr()),
            };
            // SAFETY: for each `k`, `weights` has a float for each row, and `values` whole vectors for these columns, by the
            // assertions above; `sums` has the rows and vectors of the largest tile.
            unsafe { tile::compute_transposed(s, rows.len(), columns.len().div_ceil(LANES), tile) };
            for row in 0..rows.len() {
                let scale = s.splat(scales[rows.start + row]);
                let to = &mut out.row_mut(rows.start + row)[columns.clone()];
                for vector in 0..columns.len().div_ceil(LANES) {
                    let sum = simd::load(s, &sums[row * MAX_VECTORS + vector]);
                    simd::store_at(s, to, vector * LANES, s.mul(sum, scale));
                }
            }
        }
    }
}
