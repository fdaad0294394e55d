//! What the scheduler needs of a model, and no more: texts become token sequences, and a batch of sequences is advanced
//! by one step.
//!
//! The unit is the token, not the text, because a token costs about the same in every model. An encoder is done with a
//! sequence after one step. A decoder would be asked again for the same sequence until it ends; the scheduler already
//! comes back to a request as often as it has sequences left, and checks for cancellation each time.

use engine::{Cancel, Embedder, EngineError, IdleSignal, TokenWithOffsets};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Length of a vector.
    pub dimension: usize,
    /// Tokens of one sequence at most.
    pub tokens_max: usize,
    /// Token ids are below this.
    pub vocabulary: usize,
}

pub trait Model: Send + Sync {
    fn shape(&self) -> Shape;

    /// Special tokens included, cut at `tokens_max`.
    fn tokenize(&self, texts: &[String], cancel: &Cancel) -> Result<Vec<Vec<u32>>, EngineError>;

    /// Every token of each text with its place, not cut.
    fn pieces(
        &self,
        texts: &[String],
        special_tokens: bool,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError>;

    /// Takes the memory that batches of so many tokens will need. Nothing else runs meanwhile.
    fn warm_up(&self, _batch_tokens: usize) -> Result<(), EngineError> {
        Ok(())
    }

    /// Nothing has happened to it since it was opened. Cheap, and waits for nothing.
    fn check(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// One vector a sequence, in order. Blocks; when it returns, no work of the call is left.
    /// `idle` signals that the next batch can start beside the rest of this one. The return of the call implies it.
    fn step(
        &self,
        batch: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError>;
}

impl Model for Embedder {
    fn shape(&self) -> Shape {
        Shape { dimension: self.dimension(), tokens_max: self.max_tokens(), vocabulary: self.vocab_size() }
    }

    fn tokenize(&self, texts: &[String], cancel: &Cancel) -> Result<Vec<Vec<u32>>, EngineError> {
        Embedder::tokenize(self, texts, cancel)
    }

    fn pieces(
        &self,
        texts: &[String],
        special_tokens: bool,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError> {
        Embedder::tokens_with_offsets(self, texts, special_tokens, cancel)
    }

    fn warm_up(&self, batch_tokens: usize) -> Result<(), EngineError> {
        Embedder::warm_up(self, batch_tokens)
    }

    fn check(&self) -> Result<(), EngineError> {
        Embedder::check_weights(self)
    }

    fn step(
        &self,
        batch: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        self.embed_tokens(batch, cancel, idle)
    }
}
