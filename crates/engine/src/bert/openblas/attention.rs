//! Attention of packed sequences. Each sequence attends only to itself, so each head of each sequence is a pair of small
//! products.
//!
//! The keys are transposed first: OpenBLAS has a kernel for small products that packs nothing, and it applies to
//! `query * key^T` only when neither operand is transposed.

use kernels::isa::Isa;
use kernels::matrix::MatrixMut;
use kernels::softmax::softmax;
use openblas_sys::{Matrix, Transpose, sgemm};

use super::SCORES_MULTIPLE;
use super::buffers::Buffers;
use super::qkv::Qkv;
use super::transpose::transpose;
use crate::bert::packed::PackedSequences;

/// `context = softmax(query * key^T / sqrt(head_size)) * value`, for each sequence and head.
pub(super) fn attention(
    isa: Isa,
    packed: &PackedSequences,
    qkv: &Qkv,
    head_size: usize,
    buffers: &mut Buffers<'_>,
) {
    let stride = qkv.bias.len();
    let hidden = buffers.context.len() / packed.token_count().max(1);
    let scale = 1.0 / (head_size as f32).sqrt();
    for sequence in packed.ranges() {
        let tokens = sequence.len();
        let columns = tokens.next_multiple_of(SCORES_MULTIPLE);
        let rows = &buffers.qkv[sequence.start * stride..sequence.end * stride];
        let context = &mut buffers.context[sequence.start * hidden..sequence.end * hidden];
        let scores = &mut buffers.scores[..tokens * columns];
        let keys = &mut buffers.keys[..hidden * tokens];
        transpose(&rows[qkv.key..], stride, hidden, keys);
        for head in (0..hidden).step_by(head_size) {
            let part =
                |column: usize| Matrix { data: &rows[column + head..], stride, transpose: Transpose::No };
            let (query, value) = (part(qkv.query), part(qkv.value));
            let key = Matrix { data: &keys[head * tokens..], stride: tokens, transpose: Transpose::No };
            sgemm(tokens, tokens, head_size, scale, query, key, 0.0, scores, columns);
            softmax(isa, MatrixMut::new(scores, tokens, columns, columns), tokens);
            let weights = Matrix { data: scores, stride: columns, transpose: Transpose::No };
            sgemm(tokens, head_size, tokens, 1.0, weights, value, 0.0, &mut context[head..], hidden);
        }
    }
}
