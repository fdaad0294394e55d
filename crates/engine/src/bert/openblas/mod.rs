//! The layers of BERT on OpenBLAS.
//!
//! Every product except those of attention is one sgemm over all tokens of the chunk, because OpenBLAS packs the weights in each
//! call; attention runs per sequence and head. Weights are used in the map without conversion.
//!
//! The bias of a product is written to its output before the product is added (`beta` = 1), because OpenBLAS would
//! otherwise write zeros there. Residual connections are free for the same reason: the product is added to the residual.

mod attention;
mod buffers;
mod qkv;
mod transpose;

use kernels::activation::{self, Activation};
use kernels::isa::Isa;
use openblas_sys::{Matrix, Transpose, sgemm};

use super::forward_times::{ForwardStage, StageClock};
use super::layout::LayerTensors;
use super::packed::PackedSequences;
use super::scratch::Arena;
use super::{Normalizer, layout};
use crate::cancel::Cancel;
use crate::config::BertConfig;
use crate::error::EngineError;
use crate::weights::Weights;
use attention::attention;
use buffers::Widths;
use qkv::Qkv;

/// Columns of attention scores are a multiple of this, as softmax requires.
const SCORES_MULTIPLE: usize = 16;

/// The layers of a model.
pub(super) struct Encoder {
    isa: Isa,
    config: BertConfig,
    layers: Vec<Layer>,
}

struct Layer {
    qkv: Qkv,
    tensors: LayerTensors,
}

impl Encoder {
    /// Plans the products; the weights stay where they are.
    pub fn plan(isa: Isa, weights: &Weights, tensors: Vec<LayerTensors>, config: &BertConfig) -> Encoder {
        let layers = tensors.into_iter().map(|tensors| {
            let parts = [&tensors.query, &tensors.key, &tensors.value];
            Layer { qkv: Qkv::plan(weights, parts, config.hidden_size), tensors }
        });
        Encoder { isa, config: config.clone(), layers: layers.collect() }
    }

    /// Replaces hidden states after the embeddings by those after the last layer.
    pub fn run(
        &self,
        weights: &Weights,
        packed: &PackedSequences,
        x: &mut [f32],
        arena: &mut Arena<'_>,
        cancel: &Cancel,
        clock: &mut StageClock,
    ) -> Result<(), EngineError> {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let normalizer = Normalizer { isa: self.isa, weights, epsilon: self.config.layer_norm_eps };
        for Layer { qkv, tensors } in &self.layers {
            cancel.check()?;
            let widths = Widths { hidden, qkv: qkv.bias.len(), wide: inner };
            let mut arena = arena.reborrow();
            let mut b = widths.buffers(packed.token_count(), packed.longest(), &mut arena);

            fill_rows(b.qkv, &qkv.bias);
            for block in &qkv.blocks {
                let columns = block.weight.len / hidden;
                let out = &mut b.qkv[block.first_column..];
                add_product(x, hidden, weights.floats(block.weight), columns, out, widths.qkv);
            }
            clock.lap(ForwardStage::Qkv);
            attention(self.isa, packed, qkv, self.config.head_size(), &mut b);
            clock.lap(ForwardStage::Attention);
            add_linear(weights, b.context, hidden, tensors.attention_out, x, hidden);
            clock.lap(ForwardStage::AttentionOut);
            normalizer.apply(x, &tensors.attention_norm);
            clock.lap(ForwardStage::Norm);

            fill_rows(b.wide, weights.floats(tensors.up.bias));
            add_product(x, hidden, weights.floats(tensors.up.weight), inner, b.wide, inner);
            clock.lap(ForwardStage::Up);
            activation::apply(self.isa, Activation::Gelu, b.wide);
            clock.lap(ForwardStage::Gelu);
            add_linear(weights, b.wide, inner, tensors.down, x, hidden);
            clock.lap(ForwardStage::Down);
            normalizer.apply(x, &tensors.output_norm);
            clock.lap(ForwardStage::Norm);
        }
        Ok(())
    }

    #[cfg(test)]
    pub fn truncate_layers(&mut self, layers: usize) {
        self.layers.truncate(layers);
    }
}

/// Floats that [`Encoder::run`] takes of its arena at most: a file can lay out its layers differently.
pub(super) fn scratch_floats(config: &BertConfig, tokens: usize, longest: usize) -> usize {
    Widths::bound(config).floats(tokens, longest)
}

/// Outputs and inputs of the products with weights, as `(columns, inner)`.
pub(super) fn products(config: &BertConfig) -> [(usize, usize); 4] {
    Widths::bound(config).products()
}

/// `out += x * weight^T + bias`
fn add_linear(
    weights: &Weights,
    x: &[f32],
    inner: usize,
    linear: layout::Linear,
    out: &mut [f32],
    columns: usize,
) {
    let bias = weights.floats(linear.bias);
    for row in out.chunks_exact_mut(columns) {
        row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
    }
    add_product(x, inner, weights.floats(linear.weight), columns, out, columns);
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

#[cfg(test)]
mod tests;
