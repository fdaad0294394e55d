//! Attention of one sequence: `softmax(query * key^T) * value` for each head.
//!
//! For a block of up to 32 queries the scores of all keys are computed, made to `e^(score - largest)`, and multiplied with the
//! values, while they are in the first-level cache (up to about 300 tokens) or the second (up to 8,000). The division by the sum
//! follows at the store.
//!
//! There is no scale: `1 / sqrt(head_size)` belongs to the weights of the query, into which it is multiplied at load. There is no
//! mask: sequences are computed one by one, without padding.

mod head;
mod operands;
#[cfg(test)]
mod tests;

use std::ops::Range;

use crate::gemm::tile::MAX_VECTORS;
use crate::isa::Isa;
use crate::matrix::{Matrix, MatrixMut};
use crate::simd::{Kernel, LANES, Simd, dispatch};
use head::Head;
use operands::{KeysValues, width};

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

/// Floats of scratch memory that [`attention`] needs for a sequence of `tokens`: proportional to the tokens.
pub fn attention_scratch_floats(tokens: usize, head_size: usize) -> usize {
    let (keys_values, scores) = (2 * width(head_size), MAX_VECTORS * LANES);
    tokens * (keys_values + scores) + MAX_VECTORS * LANES * head_size
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
        let (keys_values, rest) = self.scratch.split_at_mut(2 * tokens * width(head_size));
        let (vectors, _) = rest.as_chunks_mut::<LANES>();
        let (packed_queries, scores) = vectors.split_at_mut(MAX_VECTORS * head_size);
        let columns = |first: usize| self.qkv.part(0..tokens, first..first + head_size);

        let mut out = self.out;
        let mut head = self.heads.start;
        while head < self.heads.end {
            // The heads that share keys and values.
            let kv_head = head / (heads / kv_heads);
            let end = self.heads.end.min((kv_head + 1) * (heads / kv_heads));
            let (keys, values) = (columns(key + kv_head * head_size), columns(value + kv_head * head_size));
            let keys_values = KeysValues::pack(s, keys, values, keys_values);
            for head in head..end {
                let queries = columns(query + head * head_size);
                let (head_out, rest) = out.split_columns(head_size);
                out = rest;
                let (packed_queries, scores) = (&mut *packed_queries, &mut *scores);
                Head { queries, keys_values, packed_queries, scores, out: head_out }.compute(s);
            }
            head = end;
        }
    }
}
