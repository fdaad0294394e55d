//! The interface between scheduler and model: tokenize texts, and advance a batch of sequences by one step.
//!
//! The unit of work is the token, because a token costs about the same in every model. An encoder finishes a sequence
//! in one step. A decoder would need one step per token; the scheduler already returns to a request until it has no
//! sequences left, and checks for cancellation each time.

use engine::{Cancel, Embedder, EngineError, IdleSignal, TextCursor, Token};

/// Sizes of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Length of a vector.
    pub dimension: usize,
    /// Longest sequence, in tokens.
    pub tokens_max: usize,
    /// Number of token ids.
    pub vocabulary: usize,
}

/// A model that the server can serve.
pub trait Model: Send + Sync {
    /// The sizes.
    fn shape(&self) -> Shape;

    /// Adds the token ids of the next piece of a text: with special tokens, truncated to `tokens_max`. Takes some
    /// milliseconds at most.
    fn next_ids(&self, text: &str, cursor: &mut TextCursor, ids: &mut Vec<u32>) -> Result<(), EngineError>;

    /// Adds the tokens of the next piece of a text, not truncated. Takes some milliseconds at most.
    fn next_tokens(
        &self,
        text: &str,
        special_tokens: bool,
        cursor: &mut TextCursor,
        tokens: &mut Vec<Token>,
    ) -> Result<(), EngineError>;

    /// The name of a token in the vocabulary.
    fn token_name(&self, id: u32) -> Option<String>;

    /// Allocates the memory for batches of this size. No other work runs meanwhile.
    fn warm_up(&self, _batch_tokens: usize) -> Result<(), EngineError> {
        Ok(())
    }

    /// Fails when the files of the model have changed since it was opened. Cheap, and never blocks.
    fn check_weights(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Computes one vector per sequence, in order. Blocks until no work of the call is left.
    /// `idle` is notified when the next batch can start beside the rest of this one. The return of the call implies it.
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

    fn next_ids(&self, text: &str, cursor: &mut TextCursor, ids: &mut Vec<u32>) -> Result<(), EngineError> {
        Embedder::next_ids(self, text, cursor, ids)
    }

    fn next_tokens(
        &self,
        text: &str,
        special_tokens: bool,
        cursor: &mut TextCursor,
        tokens: &mut Vec<Token>,
    ) -> Result<(), EngineError> {
        Embedder::next_tokens(self, text, special_tokens, cursor, tokens)
    }

    fn token_name(&self, id: u32) -> Option<String> {
        Embedder::token_name(self, id)
    }

    fn warm_up(&self, batch_tokens: usize) -> Result<(), EngineError> {
        Embedder::warm_up(self, batch_tokens)
    }

    fn check_weights(&self) -> Result<(), EngineError> {
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
