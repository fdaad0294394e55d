//! The order of work: first in, first out for each client, round-robin between clients.
//!
//! A batch is filled sequence by sequence, so a request of a thousand texts does not delay a request of one text. Texts
//! are tokenized before any batch is formed, because only tokens tell their cost. They are tokenized in slices of some
//! milliseconds, so a request of long texts does not delay others either.
//!
//! Requests that only tokenize have a lane of their own: they never delay the embeddings of the same client. A runner
//! chooses between the lanes by the time that each has taken (`scheduler::shares`).
//!
//! This module starts no thread and takes no lock; `scheduler` does both.

mod lane;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::job::{Job, OutputKind};
use super::model::Model;
use super::text_work::TextWork;
use lane::Lane;

/// Bytes of text of one slice; at least one request.
const SLICE_BYTES: usize = 16 << 10;

/// A request in the queue.
pub struct QueueEntry {
    pub job: Arc<Job>,
    pub input: PendingInput,
    pub since: Instant,
}

/// The part of a request that is not computed yet.
pub enum PendingInput {
    Texts(TextWork),
    /// A runner tokenizes the texts; the entry keeps its position.
    Tokenizing,
    /// Each with its index in the request.
    Sequences(VecDeque<(usize, Vec<u32>)>),
}

/// The two kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneKind {
    Embeddings,
    TokenizeOnly,
}

/// Requests whose texts a runner tokenizes for some milliseconds.
pub type Slice = Vec<(Arc<Job>, TextWork)>;

/// Sequences of one model.
pub struct Batch {
    pub model: Arc<dyn Model>,
    pub items: Vec<Item>,
}

/// One sequence of a batch.
pub struct Item {
    pub job: Arc<Job>,
    pub index: usize,
    pub sequence: Vec<u32>,
}

/// All requests that wait.
#[derive(Default)]
pub struct Queue {
    embeddings: Lane,
    tokenize_only: Lane,
}

impl Queue {
    /// Adds a request.
    pub fn push(&mut self, entry: QueueEntry) {
        self.lane_of(&entry.job).push(entry);
    }

    /// Returns texts that are not finished. A job that is not in the queue any more is dropped.
    pub fn put_back(&mut self, job: &Arc<Job>, work: TextWork) {
        if let Some(entry) = self.lane_of(job).entry(job) {
            entry.input = PendingInput::Texts(work);
        }
    }

    /// Replaces the texts of a job by sequences. False when the job is not in the queue any more.
    pub fn set_sequences(&mut self, job: &Arc<Job>, sequences: Vec<Vec<u32>>) -> bool {
        let entry = self.embeddings.entry(job);
        if let Some(entry) = entry {
            entry.input = PendingInput::Sequences(sequences.into_iter().enumerate().collect());
            return true;
        }
        false
    }

    /// Takes out a job that needs no further work.
    pub fn remove(&mut self, job: &Arc<Job>) -> Option<QueueEntry> {
        self.lane_of(job).remove(job)
    }

    fn lane_of(&mut self, job: &Job) -> &mut Lane {
        match job.output_kind {
            OutputKind::Embeddings => &mut self.embeddings,
            OutputKind::Tokens { .. } => &mut self.tokenize_only,
        }
    }

    fn lane(&self, kind: LaneKind) -> &Lane {
        match kind {
            LaneKind::Embeddings => &self.embeddings,
            LaneKind::TokenizeOnly => &self.tokenize_only,
        }
    }

    /// Takes out cancelled entries. The caller drops them after it has released its lock.
    pub fn remove_cancelled(&mut self) -> Vec<QueueEntry> {
        let mut cancelled = self.embeddings.remove_cancelled();
        cancelled.append(&mut self.tokenize_only.remove_cancelled());
        cancelled
    }

    /// Takes out all entries.
    pub fn drain(&mut self) -> Vec<QueueEntry> {
        let lanes = [std::mem::take(&mut self.embeddings), std::mem::take(&mut self.tokenize_only)];
        lanes.into_iter().flat_map(Lane::into_entries).collect()
    }

    /// Number of requests.
    pub fn requests(&self) -> usize {
        self.embeddings.entries().count() + self.tokenize_only.entries().count()
    }

    /// Tokens of all sequences; counting stops at `enough`.
    pub fn tokens(&self, enough: usize) -> usize {
        let mut tokens = 0;
        for entry in self.embeddings.entries() {
            if let PendingInput::Sequences(sequences) = &entry.input {
                for (_, sequence) in sequences {
                    tokens += sequence.len();
                    if tokens >= enough {
                        return tokens;
                    }
                }
            }
        }
        tokens
    }

    /// Arrival of the oldest request.
    pub fn oldest(&self) -> Option<Instant> {
        self.embeddings.entries().chain(self.tokenize_only.entries()).map(|entry| entry.since).min()
    }

    /// Whether a request of this kind waits for the tokenizer.
    pub fn has_texts(&self, kind: LaneKind) -> bool {
        self.lane(kind).entries().any(|entry| matches!(entry.input, PendingInput::Texts(_)))
    }

    /// Texts of one slice; empty when no request of this kind waits for the tokenizer.
    pub fn take_slice(&mut self, kind: LaneKind) -> Slice {
        let lane = match kind {
            LaneKind::Embeddings => &mut self.embeddings,
            LaneKind::TokenizeOnly => &mut self.tokenize_only,
        };
        lane.take_slice(SLICE_BYTES)
    }

    /// Sequences of one model within the tokens of a batch; at least one if any waits.
    pub fn take_batch(&mut self, batch_tokens: usize) -> Option<Batch> {
        self.embeddings.take_batch(batch_tokens)
    }
}

#[cfg(test)]
mod tests;
