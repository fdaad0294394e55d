//! Attention of packed sequences: each sees itself only, so each is its own small pair of products a head.
//!
//! Keys are transposed first: OpenBLAS has a kernel for small products that packs nothing, and it takes `query * key^T`
//! only when both lie as plain matrices.

use openblas_sys::{Matrix, Transpose, sgemm};

use super::scratch::Buffers;
use super::{PackedSequences, Qkv};
use crate::kernels::{self, Simd};

/// `context = softmax(query * key^T / sqrt(head_size)) * value`, for each sequence and head.
pub(super) fn attention(
    simd: Simd,
    packed: &PackedSequences,
    qkv: &Qkv,
    head_size: usize,
    s: &mut Buffers<'_>,
) {
    let stride = qkv.bias.len();
    let hidden = s.context.len() / packed.ids.len().max(1);
    let scale = 1.0 / (head_size as f32).sqrt();
    for sequence in packed.sequences() {
        let tokens = sequence.len();
        let rows = &s.qkv[sequence.start * stride..sequence.end * stride];
        let context = &mut s.context[sequence.start * hidden..sequence.end * hidden];
        let scores = &mut s.scores[..tokens * tokens];
        let keys = &mut s.keys[..hidden * tokens];
        transpose(&rows[qkv.key..], stride, hidden, keys);
        for head in (0..hidden).step_by(head_size) {
            let part =
                |column: usize| Matrix { data: &rows[column + head..], stride, transpose: Transpose::No };
            let (query, value) = (part(qkv.query), part(qkv.value));
            let key = Matrix { data: &keys[head * tokens..], stride: tokens, transpose: Transpose::No };
            sgemm(tokens, tokens, head_size, scale, query, key, 0.0, scores, tokens);
            kernels::softmax_rows(simd, scores, tokens);
            let weights = Matrix { data: scores, stride: tokens, transpose: Transpose::No };
            sgemm(tokens, head_size, tokens, 1.0, weights, value, 0.0, &mut context[head..], hidden);
        }
    }
}

/// `out[column][row] = data[row][column]` for the first `columns` of each row.
fn transpose(data: &[f32], stride: usize, columns: usize, out: &mut [f32]) {
    /// A block of this many rows and columns fits the first-level cache on both sides.
    const BLOCK: usize = 16;
    let rows = out.len() / columns;
    for first_column in (0..columns).step_by(BLOCK) {
        let block = first_column..columns.min(first_column + BLOCK);
        for first_row in (0..rows).step_by(BLOCK) {
            for column in block.clone() {
                let out = &mut out[column * rows..][first_row..rows.min(first_row + BLOCK)];
                for (value, row) in out.iter_mut().zip(data[first_row * stride..].chunks(stride)) {
                    *value = row[column];
                }
            }
        }
    }
}
