//! Attention of one sequence: `softmax(query * key^T) * value` for each head.
//!
//! For a block of rows the scores of all keys are computed, made to `e^(score - largest)`, and multiplied with the values,
//! while they are in the first-level cache (up to about 800 tokens) or the second (up to 16,000). The division by the sum
//! follows at the store.
//!
//! There is no scale: `1 / sqrt(head_size)` belongs to the weights of the query, into which it is multiplied at load. There is no
//! mask: sequences are computed one by one, without padding.

mod operands;
#[cfg(test)]
mod tests;
mod tile;

use std::ops::Range;

use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::{self, Kernel, LANES, Simd, dispatch};
use crate::softmax::exponentials;
use operands::{Operands, Vectors};
use tile::product_tile;

/// Where the heads of a layer are in the output of its query, key and value product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values; a divisor of `heads`. Adjacent query heads share one.
    pub kv_heads: usize,
    /// Columns of a head.
    pub head_size: usize,
    /// First column of the first query head.
    pub query: usize,
    /// First column of the first key head.
    pub key: usize,
    /// First column of the first value head.
    pub value: usize,
}

/// Rows of the largest block.
const ROWS_MAX: usize = 12;

/// Floats of scratch memory that [`attention`] needs for a sequence of `tokens`: proportional to the tokens.
pub fn attention_scratch_floats(tokens: usize, head_size: usize) -> usize {
    tokens.next_multiple_of(LANES) * (head_size + LANES + ROWS_MAX)
}

/// Computes some heads of one sequence. The rows of `qkv` are its tokens; the columns of `out` are those of `heads`, one after
/// another. A row of the result depends on the sequence only, not on the other heads.
///
/// Panics when the shapes do not fit each other or `scratch` is shorter than [`attention_scratch_floats`].
pub fn attention(
    isa: Isa,
    shape: &AttentionShape,
    qkv: Matrix<'_, f32>,
    heads: Range<usize>,
    out: MatrixMut<'_, f32>,
    scratch: &mut [f32],
) {
    let AttentionShape { heads: all, kv_heads, head_size, query, key, value } = *shape;
    assert!(kv_heads > 0 && all.is_multiple_of(kv_heads), "{all} heads share {kv_heads} of keys and values");
    let end = (query + all * head_size).max(key.max(value) + kv_heads * head_size);
    assert!(end <= qkv.columns(), "{shape:?} in {} columns", qkv.columns());
    assert!(heads.start <= heads.end && heads.end <= all, "heads {heads:?} of {all}");
    let (tokens, expected) = (qkv.rows(), (qkv.rows(), heads.len() * head_size));
    let found = (out.rows(), out.columns());
    assert!(found == expected, "an output of {found:?} for {expected:?} rows and columns");
    let (floats, needed) = (scratch.len(), attention_scratch_floats(tokens, head_size));
    assert!(floats >= needed, "{floats} floats of scratch memory for {needed}");
    if tokens > 0 && head_size > 0 {
        dispatch(isa, Attention { shape: *shape, qkv, heads, out, scratch });
    }
}

struct Attention<'a> {
    shape: AttentionShape,
    qkv: Matrix<'a, f32>,
    heads: Range<usize>,
    out: MatrixMut<'a, f32>,
    scratch: &'a mut [f32],
}

impl Kernel for Attention<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let AttentionShape { heads, kv_heads, head_size, query, key, value } = self.shape;
        let tokens = self.qkv.rows();
        let (scratch, _) = self.scratch.as_chunks_mut::<LANES>();
        let (scores, panels) = scratch.split_at_mut(ROWS_MAX * tokens.div_ceil(LANES));
        let columns = |first: usize| self.qkv.part(0..tokens, first..first + head_size);

        let (mut out, mut packed) = (self.out, None);
        for head in self.heads {
            let kv_head = head / (heads / kv_heads);
            if packed != Some(kv_head) {
                let (keys, values) =
                    (columns(key + kv_head * head_size), columns(value + kv_head * head_size));
                operands::pack(keys, values, panels);
                packed = Some(kv_head);
            }
            let queries = columns(query + head * head_size);
            let (head_out, rest) = out.split_columns(head_size);
            out = rest;
            let operands = Operands::new(columns(value + kv_head * head_size), panels);
            run_head(s, Head { queries, operands, scores, out: head_out });
        }
    }
}

/// One head, its keys and values packed.
struct Head<'a> {
    queries: Matrix<'a, f32>,
    operands: Operands<'a>,
    scores: &'a mut [[f32; LANES]],
    out: MatrixMut<'a, f32>,
}

/// Divides the rows into blocks of the size that the registers hold. A last block that is not full begins earlier and computes
/// some rows again, with the same result.
#[inline(always)]
fn run_head<S: Simd>(s: S, mut head: Head<'_>) {
    if S::TILE_VECTORS >= 24 {
        run_rows::<S, ROWS_MAX, 4, 2>(s, &mut head);
    } else if S::TILE_VECTORS >= 6 {
        run_rows::<S, 6, 2, 1>(s, &mut head);
    } else {
        run_rows::<S, 2, 1, 1>(s, &mut head);
    }
}

/// Blocks of `MR` rows, then of `SMALL` rows when fewer remain, and single rows for sequences that are shorter still.
#[inline(always)]
fn run_rows<S: Simd, const MR: usize, const SMALL: usize, const NV: usize>(s: S, head: &mut Head<'_>) {
    let tokens = head.queries.rows();
    let mut row = 0;
    while row < tokens {
        let left = tokens - row;
        if tokens >= MR && left > SMALL {
            row = row.min(tokens - MR);
            run_block::<S, MR, NV>(s, head, row);
            row += MR;
        } else if tokens >= SMALL {
            row = row.min(tokens - SMALL);
            run_block::<S, SMALL, NV>(s, head, row);
            row += SMALL;
        } else {
            run_block::<S, 1, NV>(s, head, row);
            row += 1;
        }
    }
}

/// The rows from `first` on, `MR` of them.
#[inline(always)]
fn run_block<S: Simd, const MR: usize, const NV: usize>(s: S, head: &mut Head<'_>, first: usize) {
    let Head { queries, operands, scores, out } = head;
    let (tokens, head_size) = (queries.rows(), queries.columns());
    let width = tokens.div_ceil(LANES);
    let queries = queries.part(first..first + MR, 0..head_size);
    for panel in (0..width).step_by(NV) {
        let store = |row: usize, vector: usize, value: S::F32| {
            simd::store(s, &mut scores[row * width + panel + vector], value);
        };
        multiply::<S, MR, NV>(s, queries, operands.keys(panel), NV.min(width - panel), store);
    }

    let mut scales = [s.splat(0.0); MR];
    for (row, scale) in scores.chunks_exact_mut(width).zip(&mut scales) {
        *scale = s.splat(1.0 / exponentials(s, row, tokens));
    }

    let weights = Matrix::new(scores.as_flattened(), MR, tokens, width * LANES);
    let mut out = out.rows_mut(first..first + MR);
    let (full, vectors) = (head_size / LANES, head_size.div_ceil(LANES));
    for vector in (0..full).step_by(NV) {
        let store = |row: usize, next: usize, value: S::F32| {
            simd::store_at(s, out.row_mut(row), (vector + next) * LANES, s.mul(value, scales[row]));
        };
        multiply::<S, MR, NV>(s, weights, operands.values(vector), NV.min(full - vector), store);
    }
    if full < vectors {
        let store = |row: usize, _: usize, value: S::F32| {
            simd::store_at(s, out.row_mut(row), full * LANES, s.mul(value, scales[row]));
        };
        multiply::<S, MR, 1>(s, weights, operands.last_values(), 1, store);
    }
}

/// The product of `MR` rows and `count` vectors of columns, at most `NV`, passed to `store` as row, vector and value.
#[inline(always)]
fn multiply<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    a: Matrix<'_, f32>,
    b: Vectors<'_>,
    count: usize,
    mut store: impl FnMut(usize, usize, S::F32),
) {
    if count == NV {
        let tile = product_tile::<S, MR, NV>(s, a, b);
        for row in 0..MR {
            for vector in 0..NV {
                store(row, vector, tile[row][vector]);
            }
        }
    } else {
        // NV is at most 2.
        let tile = product_tile::<S, MR, 1>(s, a, b);
        for row in 0..MR {
            store(row, 0, tile[row][0]);
        }
    }
}
