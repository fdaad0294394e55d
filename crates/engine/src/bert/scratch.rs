//! The memory of a worker for one chunk, reused from chunk to chunk.
//!
//! The token limit of a chunk (`batch::chunk_tokens_bound`) bounds the size. A worker that has processed only short requests
//! holds less.

use kernels::buffer::{ALIGNMENT, Buffer};
use kernels::linear::Operand;

use super::forward_times::{ForwardTimes, StageClock};

/// The memory and the clock of one worker.
#[derive(Default)]
pub(crate) struct Scratch {
    memory: Buffer<f32>,
    operand: Operand,
    clock: StageClock,
}

/// Memory that is divided into matrices.
pub(super) struct Arena<'a>(&'a mut [f32]);

impl Scratch {
    /// `floats` of memory with any content, memory for activations in another precision, and the clock, which starts now.
    pub(super) fn for_chunk(&mut self, floats: usize) -> (Arena<'_>, &mut Operand, &mut StageClock) {
        if self.memory.len() < floats {
            self.memory = Buffer::default(); // freed first: the old content is not needed
            self.memory = Buffer::zeroed(floats)
                .unwrap_or_else(|error| panic!("{floats} floats for the matrices of a chunk: {error}"));
        }
        self.clock.start();
        (Arena(&mut self.memory[..floats]), &mut self.operand, &mut self.clock)
    }

    /// The first floats of the memory: the hidden states of the last chunk.
    pub(super) fn hidden_states(&self, len: usize) -> &[f32] {
        &self.memory[..len]
    }

    /// Returns and resets the times measured since the last call.
    pub fn take_times(&mut self) -> ForwardTimes {
        self.clock.take()
    }
}

impl<'a> Arena<'a> {
    /// The same memory for a shorter time.
    pub fn reborrow(&mut self) -> Arena<'_> {
        Arena(&mut *self.0)
    }

    /// The next `len` floats, aligned to [`ALIGNMENT`].
    pub fn take(&mut self, len: usize) -> &'a mut [f32] {
        let (taken, rest) = std::mem::take(&mut self.0).split_at_mut(aligned(len));
        self.0 = rest;
        &mut taken[..len]
    }
}

/// Floats of an arena that a part of `len` takes.
pub(super) fn aligned(len: usize) -> usize {
    len.next_multiple_of(ALIGNMENT / size_of::<f32>())
}
