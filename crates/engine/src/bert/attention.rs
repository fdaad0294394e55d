//! Attention of packed sequences: each sees itself only, so each is its own small pair of products a head.

use openblas_sys::{Matrix, Transpose, sgemm};

use super::scratch::Buffers;
use super::{Packed, Qkv};
use crate::kernels::{self, Simd};

/// `context = softmax(query * key^T / sqrt(head_size)) * value`, for each sequence and head.
pub(super) fn attention(simd: Simd, packed: &Packed, qkv: &Qkv, head_size: usize, s: &mut Buffers<'_>) {
    let stride = qkv.bias.len();
    let hidden = s.context.len() / packed.ids.len().max(1);
    let scale = 1.0 / (head_size as f32).sqrt();
    for sequence in packed.sequences() {
        let tokens = sequence.len();
        let rows = &s.qkv[sequence.start * stride..sequence.end * stride];
        let context = &mut s.context[sequence.start * hidden..sequence.end * hidden];
        let scores = &mut s.scores[..tokens * tokens];
        for head in (0..hidden).step_by(head_size) {
            let part = |column: usize, transpose| Matrix { data: &rows[column + head..], stride, transpose };
            let (query, key) = (part(qkv.query, Transpose::No), part(qkv.key, Transpose::Yes));
            sgemm(tokens, tokens, head_size, scale, query, key, 0.0, scores, tokens);
            kernels::softmax_rows(simd, scores, tokens);
            let weights = Matrix { data: scores, stride: tokens, transpose: Transpose::No };
            let value = part(qkv.value, Transpose::No);
            sgemm(tokens, head_size, tokens, 1.0, weights, value, 0.0, &mut context[head..], hidden);
        }
    }
}
