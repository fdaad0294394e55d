//! The tensors of a BERT, and the widths of the matrices that a forward pass needs.

use crate::config::BertConfig;
use crate::weights::{TensorRef, Weights};

/// Upper bound of the unused rows that one fused product can contain: two biases lie between three matrices. More indicate
/// another layout of the file, for which three products are cheaper.
const UNUSED_ROWS_MAX: usize = 8;

/// Embedding tables and their layer norm.
pub(super) struct Embeddings {
    pub words: TensorRef,
    pub positions: TensorRef,
    pub token_types: TensorRef,
    pub norm: Norm,
}

/// A layer norm.
pub(super) struct Norm {
    pub weight: TensorRef,
    pub bias: TensorRef,
}

/// A linear projection; the weight is `[outputs, inputs]`.
pub(super) struct Linear {
    pub weight: TensorRef,
    pub bias: TensorRef,
}

/// One layer of the encoder.
pub(super) struct EncoderLayer {
    pub qkv: Qkv,
    pub attention_out: Linear,
    pub attention_norm: Norm,
    pub up: Linear,
    pub down: Linear,
    pub output_norm: Norm,
}

/// Query, key and value as columns of one output.
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

/// Columns of the matrices of a forward pass.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub hidden: usize,
    /// Query, key, value and unused columns.
    pub qkv: usize,
    /// The inner layer of the feed-forward part.
    pub wide: usize,
}

impl Widths {
    /// The widths for these layers. A file can lay out its layers differently: the widest determines the memory.
    pub fn of_layers(config: &BertConfig, layers: &[EncoderLayer]) -> Widths {
        let qkv = layers.iter().map(|layer| layer.qkv.bias.len()).max().unwrap_or(0);
        Widths { hidden: config.hidden_size, qkv, wide: config.intermediate_size }
    }

    /// The largest widths that any layout of the file can need.
    fn bound(config: &BertConfig) -> Widths {
        let qkv = 3 * config.hidden_size + UNUSED_ROWS_MAX;
        Widths { hidden: config.hidden_size, qkv, wide: config.intermediate_size }
    }

    /// Floats of the matrices of a chunk with `tokens` tokens, `longest` of them in one sequence.
    fn floats(self, tokens: usize, longest: usize) -> usize {
        tokens * (2 * self.hidden + self.qkv + self.wide) + longest * (longest + self.hidden)
    }
}

/// Upper bound of the scratch memory of one worker, in floats.
pub(crate) fn scratch_floats(config: &BertConfig, tokens: usize, longest: usize) -> usize {
    Widths::bound(config).floats(tokens, longest)
}

/// Outputs and inputs of the products with weights, as `(columns, inner)`.
pub(crate) fn products(config: &BertConfig) -> [(usize, usize); 4] {
    let Widths { hidden, qkv, wide } = Widths::bound(config);
    [(qkv, hidden), (hidden, hidden), (wide, hidden), (hidden, wide)]
}
