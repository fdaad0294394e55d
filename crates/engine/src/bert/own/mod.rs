//! The layers of BERT on the kernels of this project.
//!
//! ```text
//! for each layer                                   its weights come from L3 or memory once for all groups of a worker
//!     for each group of sequences                  about 64 rows (256 with AMX), or one longer sequence
//!         query, key, value; attention by sequence
//!         for each block of as many rows           its activations stay in L2
//!             + attention output, norm; up with GELU; + down, norm
//! ```
//!
//! | module | purpose |
//! |---|---|
//! | `split` | one chunk on several threads |
//! | `layer` | packed weights, and the steps of a layer |
//! | `buffers` | the matrices of a group and of a block |

mod buffers;
mod layer;
mod split;

use std::io;
use std::ops::Range;

use kernels::attention::attention_scratch_floats;
use kernels::linear::{Input, Linear, Operand, Precision};
use kernels::matrix::{Matrix, MatrixMut};

use super::forward_times::{ForwardStage, StageClock};
use super::layout::LayerTensors;
use super::packed::PackedSequences;
use super::scratch::Arena;
use crate::cancel::Cancel;
use crate::config::BertConfig;
use crate::error::EngineError;
use crate::gemm_backend::OwnKernels;
use crate::weights::Weights;
use buffers::{Buffers, Widths};
use layer::Layer;

/// The layers of a model.
pub(super) struct Encoder {
    kernels: OwnKernels,
    layers: Vec<Layer>,
    heads: usize,
    widths: Widths,
}

/// What the steps of one call share.
struct Call<'a> {
    operand: &'a mut Operand,
    cancel: &'a Cancel,
    clock: &'a mut StageClock,
}

/// A product of this many rows takes less time than a small request.
const ROWS_OF_A_PART: usize = 64;

/// Fails when the call is cancelled. Called often in a layer, because a layer of a group takes longer than a small request that
/// waits for the thread. Not [`Cancel::check`], which counts layers.
fn stop_if_cancelled(cancel: &Cancel) -> Result<(), EngineError> {
    if cancel.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
}

/// Computes a product in parts of its columns, each of about the time of [`ROWS_OF_A_PART`] rows.
fn in_parts(
    cancel: &Cancel,
    product: &Linear,
    mut out: MatrixMut<'_, f32>,
    compute: impl Fn(Range<usize>, MatrixMut<'_, f32>),
) -> Result<(), EngineError> {
    let panels = product.panels();
    for part in even_blocks(panels, panels.div_ceil(out.rows().div_ceil(ROWS_OF_A_PART).max(1))) {
        stop_if_cancelled(cancel)?;
        compute(part.clone(), out.columns_mut(product.columns_of(part)));
    }
    Ok(())
}

impl Encoder {
    /// Packs the weights, and returns the memory of the mapped ones to the kernel. Fails when it refuses memory for the copies.
    pub fn pack(
        kernels: OwnKernels,
        weights: &Weights,
        tensors: &[LayerTensors],
        config: &BertConfig,
    ) -> io::Result<Encoder> {
        let mut layers = Vec::with_capacity(tensors.len());
        for tensors in tensors {
            layers.push(Layer::pack(kernels, weights, tensors, config)?);
            // Layer by layer, so that at no time both copies of a model are resident.
            for linear in tensors.linears() {
                weights.release_pages(linear.weight);
            }
        }
        Ok(Encoder {
            kernels,
            layers,
            heads: config.num_attention_heads,
            widths: Widths::of(config, kernels.isa),
        })
    }

    /// Replaces hidden states after the embeddings by those after the last layer.
    pub fn run(
        &self,
        packed: &PackedSequences,
        x: &mut [f32],
        arena: &mut Arena<'_>,
        operand: &mut Operand,
        cancel: &Cancel,
        clock: &mut StageClock,
    ) -> Result<(), EngineError> {
        let hidden = self.widths.hidden;
        let mut buffers = self.widths.buffers(packed.token_count(), packed.longest(), arena);
        let mut call = Call { operand, cancel, clock };
        for layer in &self.layers {
            cancel.check()?;
            for bounds in packed.groups(self.widths.group_rows_max) {
                let rows = bounds[0]..bounds[bounds.len() - 1];
                let x = &mut x[rows.start * hidden..rows.end * hidden];
                self.run_attention(layer, bounds, x, &mut buffers, &mut call)?;
                self.run_rows(layer, x, &mut buffers, &mut call)?;
            }
        }
        Ok(())
    }

    /// Attention of a group of sequences: from `x` to the context.
    fn run_attention(
        &self,
        layer: &Layer,
        bounds: &[usize],
        x: &[f32],
        buffers: &mut Buffers<'_>,
        call: &mut Call<'_>,
    ) -> Result<(), EngineError> {
        let Widths { hidden, qkv: width, .. } = self.widths;
        let rows = x.len() / hidden;
        let qkv = MatrixMut::new(buffers.qkv, rows, width, width);
        let x = self.input(call.operand, Matrix::new(x, rows, hidden, hidden));
        in_parts(call.cancel, &layer.qkv, qkv, |panels, out| layer.project_qkv(x, panels, out))?;
        call.clock.lap(ForwardStage::Qkv);
        let qkv = Matrix::new(buffers.qkv, rows, width, width);
        let mut context = MatrixMut::new(buffers.context, rows, hidden, hidden);
        for pair in bounds.windows(2) {
            stop_if_cancelled(call.cancel)?;
            let rows = pair[0] - bounds[0]..pair[1] - bounds[0];
            let context = context.rows_mut(rows.clone());
            layer.attend(qkv.part(rows, 0..width), 0..self.heads, context, buffers.attention);
        }
        call.clock.lap(ForwardStage::Attention);
        Ok(())
    }

    /// The remaining steps of a layer, in which rows do not depend on each other.
    fn run_rows(
        &self,
        layer: &Layer,
        x: &mut [f32],
        buffers: &mut Buffers<'_>,
        call: &mut Call<'_>,
    ) -> Result<(), EngineError> {
        let Widths { hidden, wide: inner, .. } = self.widths;
        for rows in even_blocks(x.len() / hidden, self.widths.group_rows_max) {
            let (count, floats) = (rows.len(), rows.start * hidden..rows.end * hidden);
            let x = &mut x[floats.clone()];
            let context =
                self.input(call.operand, Matrix::new(&buffers.context[floats], count, hidden, hidden));
            in_parts(call.cancel, &layer.attention_out, rows_of(x, hidden), |panels, x| {
                layer.add_attention(context, panels, x);
            })?;
            call.clock.lap(ForwardStage::AttentionOut);
            layer.normalize_attention(rows_of(x, hidden));
            call.clock.lap(ForwardStage::Norm);

            let wide = MatrixMut::new(buffers.wide, count, inner, inner);
            let x_in = self.input(call.operand, Matrix::new(x, count, hidden, hidden));
            in_parts(call.cancel, &layer.up, wide, |panels, out| layer.widen(x_in, panels, out))?;
            call.clock.lap(ForwardStage::Up);
            let wide = self.input(call.operand, Matrix::new(buffers.wide, count, inner, inner));
            in_parts(call.cancel, &layer.down, rows_of(x, hidden), |panels, x| {
                layer.add_feed_forward(wide, panels, x);
            })?;
            call.clock.lap(ForwardStage::Down);
            layer.normalize_output(rows_of(x, hidden));
            call.clock.lap(ForwardStage::Norm);
        }
        Ok(())
    }

    /// Rows in the precision of the products.
    fn input<'a>(&self, operand: &'a mut Operand, x: Matrix<'a, f32>) -> Input<'a> {
        let OwnKernels { isa, precision } = self.kernels;
        let input = operand.prepare(isa, precision, x);
        input.unwrap_or_else(|error| panic!("memory for activations in {precision:?}: {error}"))
    }

    #[cfg(test)]
    pub fn truncate_layers(&mut self, layers: usize) {
        self.layers.truncate(layers);
    }
}

/// All of a slice as adjacent rows.
fn rows_of(x: &mut [f32], columns: usize) -> MatrixMut<'_, f32> {
    let rows = x.len() / columns;
    MatrixMut::new(x, rows, columns, columns)
}

/// Divides rows into the fewest blocks of at most `rows_max`, whose sizes differ by at most one.
fn even_blocks(rows: usize, rows_max: usize) -> impl Iterator<Item = Range<usize>> {
    let blocks = rows.div_ceil(rows_max);
    (0..blocks).map(move |block| block * rows / blocks..(block + 1) * rows / blocks)
}

/// Floats that the members share when several compute one chunk, without the hidden states.
pub(super) fn shared_floats(config: &BertConfig, kernels: OwnKernels, tokens: usize) -> usize {
    split::shared_floats(Widths::of(config, kernels.isa), tokens)
}

/// Floats of attention for one sequence.
pub(super) fn attention_floats(config: &BertConfig, longest: usize) -> usize {
    attention_scratch_floats(longest, config.head_size())
}

/// Floats that [`Encoder::run`] takes of its arena.
pub(super) fn scratch_floats(
    config: &BertConfig,
    kernels: OwnKernels,
    tokens: usize,
    longest: usize,
) -> usize {
    Widths::of(config, kernels.isa).floats(tokens, longest)
}

/// Bytes of the activations of a group and of a block in the precision of the products.
pub(super) fn operand_bytes(
    config: &BertConfig,
    OwnKernels { isa, precision }: OwnKernels,
    tokens: usize,
    longest: usize,
) -> usize {
    let Widths { hidden, wide, group_rows_max, .. } = Widths::of(config, isa);
    let group = tokens.min(longest.max(group_rows_max));
    let of_group = Operand::bytes_for(precision, group, hidden);
    of_group.max(Operand::bytes_for(precision, group.min(group_rows_max), wide))
}

/// Bytes of the packed layers: anonymous memory.
pub(super) fn packed_bytes(config: &BertConfig, precision: Precision) -> usize {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    let products = [(3 * hidden, hidden), (hidden, hidden), (wide, hidden), (hidden, wide)];
    let packed: usize =
        products.map(|(columns, inner)| Linear::bytes_of(precision, columns, inner)).iter().sum();
    let norms = size_of::<f32>() * 4 * hidden;
    config.num_hidden_layers * (packed + norms)
}

/// Bytes of the mapped weights that are not used after packing.
pub(super) fn released_bytes(config: &BertConfig) -> usize {
    let (hidden, wide) = (config.hidden_size, config.intermediate_size);
    config.num_hidden_layers * size_of::<f32>() * (4 * hidden * hidden + 2 * hidden * wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_even_and_cover_all_rows() {
        assert_eq!(even_blocks(0, 64).count(), 0);
        for rows in [1, 63, 64, 65, 128, 129, 1000] {
            let blocks: Vec<_> = even_blocks(rows, 64).collect();
            assert_eq!(blocks.len(), rows.div_ceil(64));
            assert!(blocks.iter().all(|block| block.len().abs_diff(rows / blocks.len()) <= 1));
            assert!(blocks.windows(2).all(|pair| pair[0].end == pair[1].start));
            assert_eq!((blocks[0].start, blocks[blocks.len() - 1].end), (0, rows));
        }
    }
}
