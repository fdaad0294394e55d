//! The forward pass of BERT.
//!
//! Sequences are adjacent in matrices of `[tokens, width]`, without padding. Every product except those of attention is
//! one sgemm over all tokens of the chunk; attention runs per sequence and head.
//!
//! The bias of a product is written to its output before the product is added (`beta` = 1), because OpenBLAS would
//! otherwise write zeros there. Residual connections are free for the same reason: the product is added to the residual.
//!
//! Weights are used in the map without conversion.

use openblas_sys::{Matrix, Transpose, sgemm};

use super::attention::attention;
use super::layout::{Embeddings, EncoderLayer, Norm, Widths};
use super::load::{self, Tensors};
use super::packed::PackedSequences;
use super::scratch::Scratch;
use super::stage_times::ForwardStage;
use crate::cancel::Cancel;
use crate::config::{BertConfig, ModelConfig, Pooling};
use crate::error::{EngineError, ModelError};
use crate::kernels::{self, Simd};
use crate::model_files::ModelFile;
use crate::weights::{TensorRef, Weights};

/// An encoder with pooling and normalization.
pub(crate) struct Bert {
    weights: Weights,
    config: BertConfig,
    pooling: Pooling,
    normalize: bool,
    simd: Simd,
    embeddings: Embeddings,
    pub(super) layers: Vec<EncoderLayer>,
}

impl Bert {
    /// Opens the weights of a model.
    pub fn open(file: &ModelFile, config: &ModelConfig) -> Result<Bert, ModelError> {
        let Tensors { weights, embeddings, layers } = load::load(file, &config.bert)?;
        Ok(Bert {
            weights,
            config: config.bert.clone(),
            pooling: config.pooling,
            normalize: config.normalize,
            simd: Simd::detect(),
            embeddings,
            layers,
        })
    }

    /// The weights and what happened to their file.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// One vector per sequence, in order.
    pub fn forward(
        &self,
        packed: &PackedSequences,
        scratch: &mut Scratch,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let (hidden, simd) = (self.config.hidden_size, self.simd);
        let widths = Widths::of_layers(&self.config, &self.layers);
        let (mut buffers, clock) = scratch.for_chunk(packed.token_count(), packed.longest(), widths);
        let b = &mut buffers;

        self.embed_tokens(packed, b.x)?;
        self.normalize_rows(b.x, None, &self.embeddings.norm);
        clock.lap(ForwardStage::Embed);

        for layer in &self.layers {
            cancel.check()?;

            fill_rows(b.qkv, &layer.qkv.bias);
            for block in &layer.qkv.blocks {
                let columns = block.weight.len / hidden;
                let out = &mut b.qkv[block.first_column..];
                add_product(b.x, hidden, self.floats(block.weight), columns, out, layer.qkv.bias.len());
            }
            clock.lap(ForwardStage::Qkv);
            attention(simd, packed, &layer.qkv, self.config.head_size(), b);
            clock.lap(ForwardStage::Attention);
            add_product(b.context, hidden, self.floats(layer.attention_out.weight), hidden, b.x, hidden);
            clock.lap(ForwardStage::AttentionOut);
            self.normalize_rows(b.x, Some(layer.attention_out.bias), &layer.attention_norm);
            clock.lap(ForwardStage::Norm);

            let inner = layer.up.bias.len;
            fill_rows(b.wide, self.floats(layer.up.bias));
            add_product(b.x, hidden, self.floats(layer.up.weight), inner, b.wide, inner);
            clock.lap(ForwardStage::Up);
            kernels::gelu(simd, b.wide);
            clock.lap(ForwardStage::Gelu);
            add_product(b.wide, inner, self.floats(layer.down.weight), hidden, b.x, hidden);
            clock.lap(ForwardStage::Down);
            self.normalize_rows(b.x, Some(layer.down.bias), &layer.output_norm);
            clock.lap(ForwardStage::Norm);
        }

        let states = packed.ranges().map(|range| &b.x[range.start * hidden..range.end * hidden]);
        let vectors = states.map(|states| self.pool(states)).collect();
        clock.lap(ForwardStage::Pool);
        Ok(vectors)
    }

    /// Word + position + token type; the token type is 0 for a single text.
    fn embed_tokens(&self, packed: &PackedSequences, x: &mut [f32]) -> Result<(), EngineError> {
        let hidden = self.config.hidden_size;
        let words = self.floats(self.embeddings.words);
        let positions = self.floats(self.embeddings.positions);
        let token_type = &self.floats(self.embeddings.token_types)[..hidden];
        let mut rows = x.chunks_exact_mut(hidden);
        for sequence in packed.sequences() {
            for (id, position) in sequence.iter().zip(positions.chunks_exact(hidden)) {
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

    fn normalize_rows(&self, x: &mut [f32], bias: Option<TensorRef>, norm: &Norm) {
        let bias = bias.map_or(&[][..], |bias| self.floats(bias));
        let (weight, shift) = (self.floats(norm.weight), self.floats(norm.bias));
        kernels::add_bias_and_normalize(self.simd, x, bias, weight, shift, self.config.layer_norm_eps);
    }

    /// The vector of one sequence from its hidden states.
    fn pool(&self, states: &[f32]) -> Vec<f32> {
        let hidden = self.config.hidden_size;
        let mut vector = states[..hidden].to_vec();
        if self.pooling == Pooling::Mean {
            for row in states.chunks_exact(hidden).skip(1) {
                vector.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
            }
            let tokens = (states.len() / hidden) as f32;
            vector.iter_mut().for_each(|value| *value /= tokens);
        }
        if self.normalize {
            kernels::unit_length(&mut vector);
        }
        vector
    }

    fn floats(&self, tensor: TensorRef) -> &[f32] {
        self.weights.floats(tensor)
    }
}

/// `out += x * weight^T`: x is `[tokens, inner]`, weight is `[columns, inner]` as PyTorch stores it, out has rows of
/// `stride`.
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
