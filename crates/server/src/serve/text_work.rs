//! The texts of one request on their way through the tokenizer, piece by piece. Between pieces a runner can stop, or turn
//! to another request.

use std::collections::VecDeque;
use std::time::Instant;

use engine::{TextCursor, Token};

use super::job::{Job, JobError, OutputKind};
use super::text::Text;

/// Bytes that the permit counts for each token.
const ID_BYTES: usize = size_of::<u32>();
const TOKEN_BYTES: usize = size_of::<Token>();

/// Tokens of the template around a text, in most models.
const SPECIAL_TOKENS: usize = 2;

/// Progress of one request.
pub struct TextWork {
    /// Texts that are not finished; the cursor is that of the first.
    texts: VecDeque<Text>,
    cursor: TextCursor,
    /// Bytes of `texts`.
    bytes: usize,
    ids: Vec<Vec<u32>>,
    tokens: Vec<(Text, Vec<Token>)>,
}

/// Tokens that fit into the list of one text. A list that grows by doubling is copied, and leaves freed blocks of all sizes;
/// the kernel backs only the part of this one that is written.
fn tokens_at_most(text_bytes: usize, tokens_max: usize) -> usize {
    text_bytes.saturating_add(SPECIAL_TOKENS).min(tokens_max)
}

/// State after some pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    Unfinished,
    Finished,
}

impl TextWork {
    /// Nothing is tokenized yet.
    pub fn new(texts: Vec<Text>) -> Self {
        let bytes = texts.iter().map(Text::len).sum();
        let (ids, tokens) = (Vec::new(), Vec::new());
        Self { texts: texts.into(), cursor: TextCursor::default(), bytes, ids, tokens }
    }

    /// Bytes of the texts that are not finished.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Tokenizes at least one piece, and further ones until `deadline`. Stops at the first token above `tokens_max`, at a
    /// full server, and when the job is cancelled.
    pub fn advance(&mut self, job: &Job, tokens_max: usize, deadline: Instant) -> Result<Progress, JobError> {
        while let Some(text) = self.texts.front() {
            job.cancel.check().map_err(JobError::Engine)?;
            let started = self.cursor == TextCursor::default();
            let (added, bytes_per_token) = match job.output_kind {
                OutputKind::Embeddings => {
                    if started {
                        self.ids.push(Vec::new());
                    }
                    let Some(ids) = self.ids.last_mut() else { break };
                    let before = ids.len();
                    let result = job.model.next_ids(text.as_str(), &mut self.cursor, ids);
                    result.map_err(|error| self.located(error))?;
                    (self.ids.last().map_or(0, Vec::len) - before, ID_BYTES)
                }
                OutputKind::Tokens { special_tokens } => {
                    if started {
                        self.tokens
                            .push((text.clone(), Vec::with_capacity(tokens_at_most(text.len(), tokens_max))));
                    }
                    let Some((text, tokens)) = self.tokens.last_mut() else { break };
                    let before = tokens.len();
                    let result =
                        job.model.next_tokens(text.as_str(), special_tokens, &mut self.cursor, tokens);
                    result.map_err(|error| self.located(error))?;
                    (self.tokens.last().map_or(0, |(_, tokens)| tokens.len()) - before, TOKEN_BYTES)
                }
            };
            job.add_tokens(added, bytes_per_token, tokens_max)?;
            if self.cursor.is_finished() {
                self.finish_text();
            }
            if Instant::now() >= deadline && !self.texts.is_empty() {
                return Ok(Progress::Unfinished);
            }
        }
        Ok(Progress::Finished)
    }

    fn finish_text(&mut self) {
        self.cursor = TextCursor::default();
        self.bytes -= self.texts.pop_front().map_or(0, |text| text.len());
        if let Some(ids) = self.ids.last_mut() {
            ids.shrink_to_fit();
        }
        if let Some((_, tokens)) = self.tokens.last_mut() {
            tokens.shrink_to_fit();
        }
    }

    /// The error with the index of its text in the request.
    fn located(&self, error: engine::EngineError) -> JobError {
        let index = (self.ids.len() + self.tokens.len()).saturating_sub(1);
        JobError::Engine(match error {
            engine::EngineError::Tokenize { reason, .. } => engine::EngineError::Tokenize { index, reason },
            other => other,
        })
    }

    /// The ids of all texts.
    pub fn into_ids(self) -> Vec<Vec<u32>> {
        self.ids
    }

    /// The tokens of all texts.
    pub fn into_tokens(self) -> Vec<(Text, Vec<Token>)> {
        self.tokens
    }
}
