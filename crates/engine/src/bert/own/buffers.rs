//! The matrices of a forward pass besides the hidden states.

use kernels::attention::attention_scratch_floats;
use kernels::isa::{Isa, Level};

use crate::bert::scratch::{Arena, aligned};
use crate::config::BertConfig;

/// Upper bound of the rows of short sequences that are computed together, from query, key and value to the end of a layer; also of the
/// rows of a step after attention, which needs whole sequences.
///
/// Query, key, value, context and the feed-forward part of 64 rows fit a second-level cache of 1 MiB with MiniLM. A CPU with AMX
/// has 2 MiB, and its products read the weights of a layer too fast for the caches behind it when 64 rows share them.
pub(super) fn group_rows_max(isa: Isa) -> usize {
    if isa.level() == Level::Amx { 256 } else { 64 }
}

/// Columns of the matrices.
#[derive(Clone, Copy)]
pub(super) struct Widths {
    pub hidden: usize,
    /// Query, key and value.
    pub qkv: usize,
    /// The inner layer of the feed-forward part.
    pub wide: usize,
    pub head_size: usize,
    /// Rows of a group, unless it is one longer sequence, and of a block.
    pub group_rows_max: usize,
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
    pub fn of(config: &BertConfig, isa: Isa) -> Self {
        let hidden = config.hidden_size;
        Self {
            hidden,
            qkv: 3 * hidden,
            wide: config.intermediate_size,
            head_size: config.head_size(),
            group_rows_max: group_rows_max(isa),
        }
    }

    /// Floats of the matrices of a chunk with `tokens` tokens, `longest` of them in one sequence: those of [`Buffers`], in order.
    fn lengths(self, tokens: usize, longest: usize) -> [usize; 4] {
        let group = tokens.min(longest.max(self.group_rows_max));
        [
            group * self.qkv,
            group * self.hidden,
            group.min(self.group_rows_max) * self.wide,
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
