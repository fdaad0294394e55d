//! Query, key and value as columns of one output.

use crate::bert::layout::Linear;
use crate::weights::{TensorRef, Weights};

/// Upper bound of the unused rows that one fused product can contain: two biases lie between three matrices. More indicate
/// another layout of the file, for which three products are cheaper.
pub(super) const UNUSED_ROWS_MAX: usize = 8;

/// The products of query, key and value.
///
/// safetensors sorts tensors by name, so the weights of key, query and value are adjacent except for one bias between each
/// two, and a bias is exactly one row of that matrix. The whole range of the file is therefore one matrix with two unused
/// rows. Multiplying by them costs 0.2 %; three products instead of one cost more.
pub(super) struct Qkv {
    /// One block when the layout of the file permits it, otherwise three.
    pub blocks: Vec<ProjectionBlock>,
    /// The initial content of the output: biases in their columns, 0 in unused columns. Its length is the width of the
    /// output.
    pub bias: Vec<f32>,
    /// First column of the query, key and value.
    pub query: usize,
    pub key: usize,
    pub value: usize,
}

/// Rows of weights that yield the columns of the output from `first_column` on.
pub(super) struct ProjectionBlock {
    pub weight: TensorRef,
    pub first_column: usize,
}

impl Qkv {
    /// Chooses between one fused product and three.
    pub fn plan(weights: &Weights, parts: [&Linear; 3], hidden: usize) -> Qkv {
        let row_bytes = size_of::<f32>() * hidden;
        let offsets = parts.map(|part| part.weight.offset_bytes);
        let first = offsets[0].min(offsets[1]).min(offsets[2]);
        let last = offsets[0].max(offsets[1]).max(offsets[2]);
        let is_row_aligned = offsets.iter().all(|offset| (offset - first).is_multiple_of(row_bytes));
        let rows = (last - first) / row_bytes + hidden;
        if is_row_aligned && rows <= 3 * hidden + UNUSED_ROWS_MAX {
            let weight = TensorRef { offset_bytes: first, len: rows * hidden };
            let block = ProjectionBlock { weight, first_column: 0 };
            let columns = offsets.map(|offset| (offset - first) / row_bytes);
            Qkv::new(weights, parts, rows, vec![block], columns)
        } else {
            let columns = [0, hidden, 2 * hidden];
            let blocks = parts.iter().zip(columns);
            let blocks =
                blocks.map(|(part, first_column)| ProjectionBlock { weight: part.weight, first_column });
            Qkv::new(weights, parts, 3 * hidden, blocks.collect(), columns)
        }
    }

    fn new(
        weights: &Weights,
        parts: [&Linear; 3],
        width: usize,
        blocks: Vec<ProjectionBlock>,
        columns: [usize; 3],
    ) -> Qkv {
        let mut bias = vec![0.0; width];
        for (part, column) in parts.iter().zip(columns) {
            bias[column..column + part.bias.len].copy_from_slice(weights.floats(part.bias));
        }
        let [query, key, value] = columns;
        Qkv { blocks, bias, query, key, value }
    }
}
