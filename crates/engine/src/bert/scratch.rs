//! The memory of a worker for one chunk, reused from chunk to chunk.
//!
//! The token limit of a chunk (`batch::CHUNK_TOKENS_MAX`) bounds the size. A worker that has processed only short requests
//! holds less.

use super::layout::Widths;
use super::stage_times::{StageClock, StageTimes};

/// The matrices and the clock of one worker.
#[derive(Default)]
pub(crate) struct Scratch {
    x: Vec<f32>,
    qkv: Vec<f32>,
    context: Vec<f32>,
    wide: Vec<f32>,
    scores: Vec<f32>,
    keys: Vec<f32>,
    clock: StageClock,
}

/// The matrices of one chunk, each exactly as long as its tokens require.
pub(super) struct Buffers<'a> {
    /// `[tokens, hidden]`: the hidden states, which every layer reads and adds to.
    pub x: &'a mut [f32],
    /// `[tokens, qkv]`
    pub qkv: &'a mut [f32],
    /// `[tokens, hidden]`: the output of attention.
    pub context: &'a mut [f32],
    /// `[tokens, wide]`: the inner layer of the feed-forward part.
    pub wide: &'a mut [f32],
    /// `[longest, longest]`: one head of one sequence.
    pub scores: &'a mut [f32],
    /// `[hidden, longest]`: the keys of one sequence, transposed.
    pub keys: &'a mut [f32],
}

impl Scratch {
    /// The buffers for a chunk, and the clock, which starts now.
    pub(super) fn for_chunk(
        &mut self,
        tokens: usize,
        longest: usize,
        widths: Widths,
    ) -> (Buffers<'_>, &mut StageClock) {
        fn part(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
            if buffer.len() < len {
                *buffer = Vec::new(); // freed first: the old content is not needed
                *buffer = vec![0.0; len];
            }
            &mut buffer[..len]
        }
        let buffers = Buffers {
            x: part(&mut self.x, tokens * widths.hidden),
            qkv: part(&mut self.qkv, tokens * widths.qkv),
            context: part(&mut self.context, tokens * widths.hidden),
            wide: part(&mut self.wide, tokens * widths.wide),
            scores: part(&mut self.scores, longest * longest),
            keys: part(&mut self.keys, longest * widths.hidden),
        };
        self.clock.start();
        (buffers, &mut self.clock)
    }

    /// The hidden states of the last chunk.
    #[cfg(test)]
    pub(super) fn hidden_states(&self) -> &[f32] {
        &self.x
    }

    /// Returns and resets the times measured since the last call.
    pub fn take_times(&mut self) -> StageTimes {
        self.clock.take()
    }
}
