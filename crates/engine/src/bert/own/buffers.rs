//! The matrices of a forward pass besides the hidden states.

use kernels::attention::attention_scratch_floats;

use crate::bert::scratch::{Arena, aligned};
use crate::config::BertConfig;

/// Upper bound of the rows of short sequences that are computed together, from query, key and value to the end of a layer.
/// Query, key, value, context and the feed-forward part of this many rows fit a second-level cache of 1 MiB with MiniLM.
pub(super) const GROUP_ROWS_MAX: usize = 64;
/// Upper bound of the rows of a step after attention, which needs whole sequences.
pub(super) const BLOCK_ROWS_MAX: usize = 64;

/// Columns of the matrices.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub hidden: usize,
    /// Query, key and value.
    pub qkv: usize,
    /// The inner layer of the feed-forward part.
    pub wide: usize,
    pub head_size: usize,
}

/// The matrices, with as many rows as a chunk requires.
pub(super) struct Buffers<'a> {
    /// `[rows of a group, qkv]`
    pub qkv: &'a mut [f32],
    /// `[rows of a group, hidden]`: the output of attention.
    pub context: &'a mut [f32],
    /// `[rows of a block, wide]`
    pub wide: &'a mut [f32],
    /// For the longest sequence.
    pub attention: &'a mut [f32],
}

impl Widths {
    pub fn of(config: &BertConfig) -> Self {
        let hidden = config.hidden_size;
        Self { hidden, qkv: 3 * hidden, wide: config.intermediate_size, head_size: config.head_size() }
    }

    /// Floats of the matrices of a chunk with `tokens` tokens, `longest` of them in one sequence: those of [`Buffers`], in order.
    fn lengths(self, tokens: usize, longest: usize) -> [usize; 4] {
        let group = tokens.min(longest.max(GROUP_ROWS_MAX));
        [
            group * self.qkv,
            group * self.hidden,
            group.min(BLOCK_ROWS_MAX) * self.wide,
            attention_scratch_floats(longest, self.head_size),
        ]
    }

    /// Floats of [`Buffers`].
    pub fn floats(self, tokens: usize, longest: usize) -> usize {
        self.lengths(tokens, longest).into_iter().map(aligned).sum()
    }

    /// Takes [`Widths::floats`] of the arena.
    pub fn buffers<'a>(self, tokens: usize, longest: usize, arena: &mut Arena<'a>) -> Buffers<'a> {
        let [qkv, context, wide, attention] = self.lengths(tokens, longest).map(|len| arena.take(len));
        Buffers { qkv, context, wide, attention }
    }
}
