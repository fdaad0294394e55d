//! The order of work: first in, first out for each client, round-robin between clients.
//!
//! A batch is filled sequence by sequence, so a request of a thousand texts does not delay a request of one text. Texts are
//! tokenized before any batch is formed, because only tokens tell their cost.
//!
//! This module starts no thread and takes no lock; `scheduler` does both.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::client::Client;
use super::job::Job;
use super::model::Model;

/// Round-robin quantum per client, in tokens.
const QUANTUM_TOKENS: usize = 256;
/// Bytes of text for one call of the tokenizer; at least one request per client.
const TOKENIZE_BYTES: usize = 256 << 10;

/// A request in the queue.
pub struct Entry {
    pub job: Arc<Job>,
    pub input: PendingInput,
    pub since: Instant,
}

/// The part of a request that is not computed yet.
pub enum PendingInput {
    Texts(Vec<String>),
    /// A runner tokenizes the texts; the entry keeps its position.
    Tokenizing,
    /// Each with its index in the request.
    Sequences(VecDeque<(usize, Vec<u32>)>),
}

/// Work for one runner.
pub enum Work {
    Tokenize(Vec<(Arc<Job>, Vec<String>)>),
    Compute(Batch),
}

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
    clients: HashMap<Client, VecDeque<Entry>>,
    /// Every client with an entry, once; the first is next.
    turns: VecDeque<Client>,
}

impl Queue {
    /// Adds a request.
    pub fn push(&mut self, client: &Client, entry: Entry) {
        self.entries_of(client).push_back(entry);
    }

    /// Replaces the texts of a job by sequences. False when the job is not in the queue any more.
    pub fn set_sequences(&mut self, job: &Arc<Job>, sequences: Vec<Vec<u32>>) -> bool {
        let entries = self.clients.get_mut(&job.client);
        let entry = entries.and_then(|entries| entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.job, job)));
        if let Some(entry) = entry {
            entry.input = PendingInput::Sequences(sequences.into_iter().enumerate().collect());
            return true;
        }
        false
    }

    /// Takes out a job that needs no further work.
    pub fn remove(&mut self, job: &Arc<Job>) -> Option<Entry> {
        let entries = self.clients.get_mut(&job.client)?;
        let at = entries.iter().position(|entry| Arc::ptr_eq(&entry.job, job))?;
        let entry = entries.remove(at);
        self.remove_idle_clients();
        entry
    }

    fn entries_of(&mut self, client: &Client) -> &mut VecDeque<Entry> {
        if !self.clients.contains_key(client) {
            self.turns.push_back(client.clone());
        }
        self.clients.entry(client.clone()).or_default()
    }

    /// Takes out cancelled entries. The caller drops them after it has released its lock.
    pub fn remove_cancelled(&mut self) -> Vec<Entry> {
        let mut cancelled = Vec::new();
        for entries in self.clients.values_mut() {
            let mut kept = VecDeque::with_capacity(entries.len());
            for entry in entries.drain(..) {
                if entry.job.cancel.is_cancelled() { cancelled.push(entry) } else { kept.push_back(entry) }
            }
            *entries = kept;
        }
        self.remove_idle_clients();
        cancelled
    }

    /// Takes out all entries.
    pub fn drain(&mut self) -> Vec<Entry> {
        self.turns.clear();
        self.clients.drain().flat_map(|(_, entries)| entries).collect()
    }

    /// Number of requests.
    pub fn requests(&self) -> usize {
        self.clients.values().map(VecDeque::len).sum()
    }

    /// Tokens of all sequences; counting stops at `enough`.
    pub fn tokens(&self, enough: usize) -> usize {
        let mut tokens = 0;
        for entry in self.clients.values().flatten() {
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
        self.clients.values().flatten().map(|entry| entry.since).min()
    }

    /// Whether a request waits for the tokenizer.
    pub fn has_texts(&self) -> bool {
        self.clients.values().flatten().any(|entry| matches!(entry.input, PendingInput::Texts(_)))
    }

    /// Takes the next work. `may_compute` tells whether a batch may begin.
    pub fn take(&mut self, batch_tokens: usize, may_compute: bool) -> Option<Work> {
        let texts = self.take_texts();
        if !texts.is_empty() {
            return Some(Work::Tokenize(texts));
        }
        if may_compute { self.take_batch(batch_tokens).map(Work::Compute) } else { None }
    }

    /// Texts of every client, with an equal share of bytes each.
    fn take_texts(&mut self) -> Vec<(Arc<Job>, Vec<String>)> {
        let share = TOKENIZE_BYTES / self.turns.len().max(1);
        let mut taken = Vec::new();
        for client in &self.turns {
            let mut bytes = 0;
            for entry in self.clients.get_mut(client).into_iter().flatten() {
                if bytes > share {
                    break;
                }
                if let PendingInput::Texts(texts) = &mut entry.input {
                    let texts = std::mem::take(texts);
                    bytes += texts.iter().map(String::len).sum::<usize>() + 1;
                    entry.input = PendingInput::Tokenizing;
                    taken.push((Arc::clone(&entry.job), texts));
                }
            }
        }
        taken
    }

    fn take_batch(&mut self, batch_tokens: usize) -> Option<Batch> {
        let mut batch: Option<Batch> = None;
        let (mut tokens, mut passed_over) = (0, 0);
        while tokens < batch_tokens && passed_over < self.turns.len() {
            let client = self.turns.pop_front()?;
            let before = tokens;
            if let Some(entries) = self.clients.get_mut(&client) {
                take_turn(entries, &mut batch, &mut tokens, batch_tokens);
            }
            passed_over = if tokens == before { passed_over + 1 } else { 0 };
            self.turns.push_back(client);
        }
        self.remove_idle_clients();
        batch
    }

    fn remove_idle_clients(&mut self) {
        self.clients.retain(|_, entries| !entries.is_empty());
        self.turns.retain(|client| self.clients.contains_key(client));
    }
}

/// Moves sequences of one client to the batch: one quantum, of the batch's model only, within the tokens of the batch.
fn take_turn(
    entries: &mut VecDeque<Entry>,
    batch: &mut Option<Batch>,
    tokens: &mut usize,
    batch_tokens: usize,
) {
    let turn_end = (*tokens + QUANTUM_TOKENS).min(batch_tokens);
    let mut at = 0;
    while *tokens < turn_end {
        let Some(entry) = entries.get_mut(at) else { return };
        let PendingInput::Sequences(sequences) = &mut entry.input else {
            at += 1;
            continue;
        };
        let batch =
            batch.get_or_insert_with(|| Batch { model: Arc::clone(&entry.job.model), items: Vec::new() });
        if !Arc::ptr_eq(&batch.model, &entry.job.model) {
            at += 1;
            continue;
        }
        match sequences.front() {
            // The first sequence is taken at any length, so that a batch is never empty.
            Some((_, next)) if *tokens > 0 && *tokens + next.len() > batch_tokens => return,
            _ => {}
        }
        if let Some((index, sequence)) = sequences.pop_front() {
            *tokens += sequence.len();
            batch.items.push(Item { job: Arc::clone(&entry.job), index, sequence });
        }
        if sequences.is_empty() {
            entries.remove(at);
        }
    }
}

#[cfg(test)]
mod tests;
