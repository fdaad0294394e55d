//! The matrices of a chunk besides the hidden states.

use super::SCORES_MULTIPLE;
use super::qkv::UNUSED_ROWS_MAX;
use crate::bert::scratch::{Arena, aligned};
use crate::config::BertConfig;

/// Columns of the matrices.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub hidden: usize,
    /// Query, key, value and unused columns.
    pub qkv: usize,
    /// The inner layer of the feed-forward part.
    pub wide: usize,
}

/// The matrices of one chunk, each exactly as long as its tokens require.
pub(super) struct Buffers<'a> {
    /// `[tokens, qkv]`
    pub qkv: &'a mut [f32],
    /// `[tokens, hidden]`: the output of attention.
    pub context: &'a mut [f32],
    /// `[tokens, wide]`: the inner layer of the feed-forward part.
    pub wide: &'a mut [f32],
    /// `[longest, longest]`, the columns rounded up to a multiple of [`SCORES_MULTIPLE`]: one head of one sequence.
    pub scores: &'a mut [f32],
    /// `[hidden, longest]`: the keys of one sequence, transposed.
    pub keys: &'a mut [f32],
}

impl Widths {
    /// The largest widths that any layout of the file can need.
    pub fn bound(config: &BertConfig) -> Widths {
        let qkv = 3 * config.hidden_size + UNUSED_ROWS_MAX;
        Widths { hidden: config.hidden_size, qkv, wide: config.intermediate_size }
    }

    /// Floats of the matrices of a chunk with `tokens` tokens, `longest` of them in one sequence: those of [`Buffers`], in order.
    fn lengths(self, tokens: usize, longest: usize) -> [usize; 5] {
        let scores = longest * longest.next_multiple_of(SCORES_MULTIPLE);
        [tokens * self.qkv, tokens * self.hidden, tokens * self.wide, scores, longest * self.hidden]
    }

    /// Floats of [`Buffers`].
    pub fn floats(self, tokens: usize, longest: usize) -> usize {
        self.lengths(tokens, longest).into_iter().map(aligned).sum()
    }

    /// Takes [`Widths::floats`] of the arena.
    pub fn buffers<'a>(self, tokens: usize, longest: usize, arena: &mut Arena<'a>) -> Buffers<'a> {
        let [qkv, context, wide, scores, keys] = self.lengths(tokens, longest).map(|len| arena.take(len));
        Buffers { qkv, context, wide, scores, keys }
    }

    /// Outputs and inputs of the products with weights, as `(columns, inner)`.
    pub fn products(self) -> [(usize, usize); 4] {
        let Widths { hidden, qkv, wide } = self;
        [(qkv, hidden), (hidden, hidden), (wide, hidden), (hidden, wide)]
    }
}
