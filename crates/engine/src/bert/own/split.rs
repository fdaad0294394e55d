//! One chunk on several members of a thread team: each computes some columns of each product, some heads and some rows of a
//! layer norm. Every member streams its share of the weights, the same one in each call. Results are those of one thread, bit
//! for bit, because no sum is divided.

use std::ops::Range;

use kernels::linear::{Linear, Operand};
use kernels::matrix::SharedMatrix;
use kernels::team::{Broken, Member};

use super::layer::Layer;
use super::{Encoder, Widths};
use crate::bert::packed::PackedSequences;
use crate::bert::scratch::{Arena, aligned};

/// The matrices that the members share.
pub(in crate::bert) struct SharedBuffers<'a> {
    /// `[tokens, hidden]`: hidden states, the input and the result.
    x: SharedMatrix<'a, f32>,
    qkv: SharedMatrix<'a, f32>,
    context: SharedMatrix<'a, f32>,
    wide: SharedMatrix<'a, f32>,
}

/// Floats of [`SharedBuffers`] without the hidden states.
pub(super) fn shared_floats(widths: Widths, tokens: usize) -> usize {
    let of = |columns: usize| aligned(tokens * columns);
    of(widths.qkv) + of(widths.hidden) + of(widths.wide)
}

impl Encoder {
    /// The matrices for a chunk whose hidden states are `x`. Takes [`shared_floats`] of the arena.
    pub fn shared_buffers<'a>(&self, x: &'a mut [f32], arena: &mut Arena<'a>) -> SharedBuffers<'a> {
        let Widths { hidden, qkv, wide, .. } = self.widths;
        let tokens = x.len() / hidden;
        let mut take = |columns: usize| SharedMatrix::new(arena.take(tokens * columns), columns);
        SharedBuffers {
            qkv: take(qkv),
            context: take(hidden),
            wide: take(wide),
            x: SharedMatrix::new(x, hidden),
        }
    }

    /// Computes the part of a member. `is_cancelled` is called before each layer, on one member; true as result when the call was
    /// cancelled. `attention` is the scratch memory of the member.
    pub fn run_part(
        &self,
        member: &Member<'_>,
        packed: &PackedSequences,
        shared: &SharedBuffers<'_>,
        attention: &mut [f32],
        operand: &mut Operand,
        is_cancelled: impl Fn() -> bool,
    ) -> Result<bool, Broken> {
        for layer in &self.layers {
            if member.agree(&is_cancelled)? {
                return Ok(true);
            }
            self.run_layer_part(layer, member, packed, shared, attention, operand)?;
        }
        Ok(false)
    }

    /// In each phase a member writes columns or rows that no other member accesses, and reads what no member writes: the matrix
    /// that a phase writes is read after the barrier at its end.
    fn run_layer_part(
        &self,
        layer: &Layer,
        member: &Member<'_>,
        packed: &PackedSequences,
        shared: &SharedBuffers<'_>,
        attention: &mut [f32],
        operand: &mut Operand,
    ) -> Result<(), Broken> {
        let SharedBuffers { x, qkv, context, wide } = shared;
        let head_size = self.widths.head_size;

        let (panels, columns) = part(member, &layer.qkv);
        // SAFETY: this phase writes own columns of `qkv` and no element of `x`.
        let input = unsafe { x.read() };
        // SAFETY: as above.
        let out = unsafe { qkv.columns_mut(columns) };
        layer.project_qkv(self.input(operand, input), panels, out);
        member.barrier()?;

        let heads = member.share(self.heads);
        // SAFETY: this phase writes the columns of own heads of `context` and no element of `qkv`.
        let input = unsafe { qkv.read() };
        // SAFETY: as above.
        let mut out = unsafe { context.columns_mut(heads.start * head_size..heads.end * head_size) };
        for rows in packed.ranges() {
            let qkv = input.part(rows.clone(), 0..self.widths.qkv);
            layer.attend(qkv, heads.clone(), out.rows_mut(rows), attention);
        }
        member.barrier()?;

        let (panels, columns) = part(member, &layer.attention_out);
        // SAFETY: this phase writes own columns of `x` and no element of `context`.
        let input = unsafe { context.read() };
        // SAFETY: as above.
        let out = unsafe { x.columns_mut(columns) };
        layer.add_attention(self.input(operand, input), panels, out);
        member.barrier()?;
        // SAFETY: this phase accesses own rows only.
        layer.normalize_attention(unsafe { x.rows_mut(member.share(x.rows())) });
        member.barrier()?;

        let (panels, columns) = part(member, &layer.up);
        // SAFETY: this phase writes own columns of `wide` and no element of `x`.
        let input = unsafe { x.read() };
        // SAFETY: as above.
        let out = unsafe { wide.columns_mut(columns) };
        layer.widen(self.input(operand, input), panels, out);
        member.barrier()?;

        let (panels, columns) = part(member, &layer.down);
        // SAFETY: this phase writes own columns of `x` and no element of `wide`.
        let input = unsafe { wide.read() };
        // SAFETY: as above.
        let out = unsafe { x.columns_mut(columns) };
        layer.add_feed_forward(self.input(operand, input), panels, out);
        member.barrier()?;
        // SAFETY: this phase accesses own rows only.
        layer.normalize_output(unsafe { x.rows_mut(member.share(x.rows())) });
        member.barrier()
    }
}

/// Panels and columns of a product that belong to a member.
fn part(member: &Member<'_>, product: &Linear) -> (Range<usize>, Range<usize>) {
    let panels = member.share(product.panels());
    (panels.clone(), product.columns_of(panels))
}
