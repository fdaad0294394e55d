//! BERT: the weights it needs, and one forward pass that reads top to bottom.
//!
//! Sequences lie one after another in matrices of `[tokens, width]`, without padding: every product but those of
//! attention is one sgemm over all tokens of the chunk. Attention goes sequence by sequence, head by head.
//!
//! A product's bias is written into its output first and the product added on top (`beta` = 1): OpenBLAS would otherwise
//! write zeros there. For the same reason the residual connections cost nothing: the product is added to the residual.
//!
//! Weights come from the map as they are. Query, key and value are one product where the file allows it, see [`Qkv`].

mod attention;
mod load;
mod scratch;
#[cfg(test)]
mod tests;

use openblas_sys::{Matrix, Transpose, sgemm};

use crate::cancel::Cancel;
use crate::config::{ModelConfig, Pooling};
use crate::error::EngineError;
use crate::kernels::{self, Simd};
use crate::weights::{TensorRef, Weights};
pub(crate) use load::open;
pub(crate) use scratch::{Scratch, Stage, StageTimes};

pub(crate) struct Bert {
    weights: Weights,
    config: ModelConfig,
    simd: Simd,
    embeddings: Embeddings,
    layers: Vec<EncoderLayer>,
}

struct Embeddings {
    words: TensorRef,
    positions: TensorRef,
    token_types: TensorRef,
    norm: Norm,
}

struct Norm {
    weight: TensorRef,
    bias: TensorRef,
}

struct Linear {
    weight: TensorRef,
    bias: TensorRef,
}

struct EncoderLayer {
    qkv: Qkv,
    attention_out: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

/// Query, key and value as rows of one output of `width` columns.
///
/// safetensors sorts tensors by name, which puts the weights of key, query and value close together, with one bias
/// between each two: and a bias is exactly one row of that matrix. So the whole run of the file is one matrix, two of
/// whose rows mean nothing; multiplying by them costs 0.2 %, three products instead of one cost more.
struct Qkv {
    /// One block when the file allows it, else three.
    blocks: Vec<ProjectionBlock>,
    /// What the output holds before the products: biases in their columns, 0 in the columns that mean nothing.
    bias: Vec<f32>,
    query: usize,
    key: usize,
    value: usize,
}

/// Rows of weights that make the columns `first_column..` of the output.
struct ProjectionBlock {
    weight: TensorRef,
    first_column: usize,
}

/// Sequences packed one after another.
pub(crate) struct PackedSequences {
    pub ids: Vec<u32>,
    /// Where each sequence begins, and the end of the last.
    pub bounds: Vec<usize>,
}

impl PackedSequences {
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> PackedSequences {
        let mut packed = PackedSequences { ids: Vec::new(), bounds: vec![0] };
        for sequence in sequences {
            packed.ids.extend_from_slice(sequence);
            packed.bounds.push(packed.ids.len());
        }
        packed
    }

    fn sequences(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.bounds.windows(2).map(|pair| pair[0]..pair[1])
    }

    fn longest(&self) -> usize {
        self.sequences().map(|s| s.len()).max().unwrap_or(0)
    }
}

/// Floats of one worker's scratch memory at most.
pub(crate) fn scratch_floats(config: &ModelConfig, tokens: usize, longest: usize) -> usize {
    let bert = &config.bert;
    let qkv = 3 * bert.hidden_size + load::GAP_ROWS_MAX;
    let widths = scratch::Widths { hidden: bert.hidden_size, qkv, wide: bert.intermediate_size };
    scratch::floats(tokens, longest, widths)
}

/// Outputs and inputs of the products with weights, as `(columns, inner)`.
pub(crate) fn products(config: &ModelConfig) -> [(usize, usize); 4] {
    let (hidden, wide) = (config.bert.hidden_size, config.bert.intermediate_size);
    [(3 * hidden + load::GAP_ROWS_MAX, hidden), (hidden, hidden), (wide, hidden), (hidden, wide)]
}

impl Bert {
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// One vector a sequence, in order.
    pub fn forward(
        &self,
        packed: &PackedSequences,
        scratch: &mut Scratch,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let tokens = packed.ids.len();
        let (hidden, simd) = (self.config.bert.hidden_size, self.simd);
        let (mut s, clock) = scratch.for_chunk(tokens, packed.longest(), self.widths());

        self.embed_tokens(packed, s.x)?;
        self.normalize(s.x, None, &self.embeddings.norm);
        clock.lap(Stage::Embed);

        for layer in &self.layers {
            cancel.check()?;

            fill_rows(s.qkv, &layer.qkv.bias);
            for block in &layer.qkv.blocks {
                let columns = block.weight.len / hidden;
                let out = &mut s.qkv[block.first_column..];
                add_product(s.x, hidden, self.floats(block.weight), columns, out, layer.qkv.bias.len());
            }
            clock.lap(Stage::Qkv);
            attention::attention(simd, packed, &layer.qkv, self.config.bert.head_size(), &mut s);
            clock.lap(Stage::Attention);
            add_product(s.context, hidden, self.floats(layer.attention_out.weight), hidden, s.x, hidden);
            clock.lap(Stage::AttentionOut);
            self.normalize(s.x, Some(layer.attention_out.bias), &layer.attention_norm);
            clock.lap(Stage::Norm);

            let inner = layer.up.bias.len;
            fill_rows(s.wide, self.floats(layer.up.bias));
            add_product(s.x, hidden, self.floats(layer.up.weight), inner, s.wide, inner);
            clock.lap(Stage::Up);
            kernels::gelu(simd, s.wide);
            clock.lap(Stage::Gelu);
            add_product(s.wide, inner, self.floats(layer.down.weight), hidden, s.x, hidden);
            clock.lap(Stage::Down);
            self.normalize(s.x, Some(layer.down.bias), &layer.output_norm);
            clock.lap(Stage::Norm);
        }

        let vectors =
            packed.sequences().map(|s_| self.pool(&s.x[s_.start * hidden..s_.end * hidden])).collect();
        clock.lap(Stage::Pool);
        Ok(vectors)
    }

    /// Word + position + token type, which is 0 for a single text.
    fn embed_tokens(&self, packed: &PackedSequences, x: &mut [f32]) -> Result<(), EngineError> {
        let hidden = self.config.bert.hidden_size;
        let words = self.floats(self.embeddings.words);
        let positions = self.floats(self.embeddings.positions);
        let token_type = &self.floats(self.embeddings.token_types)[..hidden];
        let mut rows = x.chunks_exact_mut(hidden);
        for sequence in packed.sequences() {
            for (id, position) in packed.ids[sequence].iter().zip(positions.chunks_exact(hidden)) {
                let start = *id as usize * hidden;
                let Some(word) = words.get(start..start + hidden) else {
                    return Err(EngineError::UnknownToken { id: *id, vocab_size: words.len() / hidden });
                };
                let row = rows.next().unwrap_or_default();
                for (i, value) in row.iter_mut().enumerate() {
                    *value = word[i] + position[i] + token_type[i];
                }
            }
        }
        Ok(())
    }

    fn normalize(&self, x: &mut [f32], bias: Option<TensorRef>, norm: &Norm) {
        let bias = bias.map_or(&[][..], |bias| self.floats(bias));
        let (weight, shift) = (self.floats(norm.weight), self.floats(norm.bias));
        kernels::add_bias_and_normalize(self.simd, x, bias, weight, shift, self.config.bert.layer_norm_eps);
    }

    /// The vector of one sequence from its hidden states.
    fn pool(&self, states: &[f32]) -> Vec<f32> {
        let hidden = self.config.bert.hidden_size;
        let mut vector = states[..hidden].to_vec();
        if self.config.pooling == Pooling::Mean {
            for row in states.chunks_exact(hidden).skip(1) {
                vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            let tokens = (states.len() / hidden) as f32;
            vector.iter_mut().for_each(|value| *value /= tokens);
        }
        if self.config.normalize {
            kernels::unit_length(&mut vector);
        }
        vector
    }

    /// The weights are still those that were opened.
    pub fn check_weights(&self) -> Result<(), EngineError> {
        self.weights.check()
    }

    fn floats(&self, tensor: TensorRef) -> &[f32] {
        self.weights.floats(tensor)
    }

    fn widths(&self) -> scratch::Widths {
        let bert = &self.config.bert;
        // A file may lay out its layers differently: room for the widest.
        let qkv = self.layers.iter().map(|layer| layer.qkv.bias.len()).max().unwrap_or(0);
        scratch::Widths { hidden: bert.hidden_size, qkv, wide: bert.intermediate_size }
    }
}

/// `out += x * weight^T`: x is `[tokens, inner]`, weight `[columns, inner]` as PyTorch keeps it, out has rows of `stride`.
fn add_product(x: &[f32], inner: usize, weight: &[f32], columns: usize, out: &mut [f32], stride: usize) {
    let a = Matrix { data: x, stride: inner, transpose: Transpose::No };
    let b = Matrix { data: weight, stride: inner, transpose: Transpose::Yes };
    sgemm(x.len() / inner, columns, inner, 1.0, a, b, 1.0, out, stride);
}

fn fill_rows(out: &mut [f32], row: &[f32]) {
    for out in out.chunks_exact_mut(row.len()) {
        out.copy_from_slice(row);
    }
}
