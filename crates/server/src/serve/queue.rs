//! The order of work, as data: requests of each client in the order of their arrival, clients in turn.
//!
//! A request of a thousand texts does not hold up one of a single text: work is taken sequence by sequence, from each
//! client in turn, until a batch has its tokens. Texts are tokenized first (a small job, taken before others), because
//! only then their cost is known.
//!
//! This module starts no thread and takes no lock; `scheduler` does both.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::client::Client;
use super::job::Job;
use super::model::Model;

/// Tokens that a client gets in its turn before the next one has his.
const TURN_TOKENS: usize = 256;
/// Bytes of text that are tokenized in one go, but at least one request a client.
const TOKENIZE_BYTES: usize = 256 << 10;

/// A request, and what of it still waits.
pub struct Entry {
    pub job: Arc<Job>,
    pub rest: Rest,
    pub since: Instant,
}

pub enum Rest {
    Texts(Vec<String>),
    /// A runner has the texts; the entry keeps their place.
    InTokenizer,
    /// Each with its place in the answer.
    Sequences(VecDeque<(usize, Vec<u32>)>),
}

pub enum Work {
    Tokenize(Vec<(Arc<Job>, Vec<String>)>),
    Step(Batch),
}

/// Sequences of one model.
pub struct Batch {
    pub model: Arc<dyn Model>,
    pub items: Vec<Item>,
}

pub struct Item {
    pub job: Arc<Job>,
    pub index: usize,
    pub sequence: Vec<u32>,
}

#[derive(Default)]
pub struct Queue {
    clients: HashMap<Client, VecDeque<Entry>>,
    /// Every client with an entry, once. The first is next.
    turns: VecDeque<Client>,
}

impl Queue {
    pub fn push(&mut self, client: &Client, entry: Entry) {
        self.of(client).push_back(entry);
    }

    /// The texts of a job have become sequences. Whether it still waits for them.
    pub fn tokenized(&mut self, job: &Arc<Job>, sequences: Vec<Vec<u32>>) -> bool {
        let entries = self.clients.get_mut(&job.client);
        let entry = entries.and_then(|entries| entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.job, job)));
        if let Some(entry) = entry {
            entry.rest = Rest::Sequences(sequences.into_iter().enumerate().collect());
            return true;
        }
        false
    }

    /// A job that needed no more than the tokenizer.
    pub fn remove(&mut self, job: &Arc<Job>) -> Option<Entry> {
        let entries = self.clients.get_mut(&job.client)?;
        let at = entries.iter().position(|entry| Arc::ptr_eq(&entry.job, job))?;
        let entry = entries.remove(at);
        self.forget_idle_clients();
        entry
    }

    fn of(&mut self, client: &Client) -> &mut VecDeque<Entry> {
        if !self.clients.contains_key(client) {
            self.turns.push_back(client.clone());
        }
        self.clients.entry(client.clone()).or_default()
    }

    /// Entries whose callers are gone. The caller of this drops them when it holds no lock.
    pub fn remove_cancelled(&mut self) -> Vec<Entry> {
        let mut gone = Vec::new();
        for entries in self.clients.values_mut() {
            let mut kept = VecDeque::with_capacity(entries.len());
            for entry in entries.drain(..) {
                if entry.job.cancel.is_cancelled() { gone.push(entry) } else { kept.push_back(entry) }
            }
            *entries = kept;
        }
        self.forget_idle_clients();
        gone
    }

    pub fn drain(&mut self) -> Vec<Entry> {
        self.turns.clear();
        self.clients.drain().flat_map(|(_, entries)| entries).collect()
    }

    pub fn requests(&self) -> usize {
        self.clients.values().map(VecDeque::len).sum()
    }

    /// Tokens known to wait, counted no further than `enough`.
    pub fn tokens(&self, enough: usize) -> usize {
        let mut tokens = 0;
        for entry in self.clients.values().flatten() {
            if let Rest::Sequences(sequences) = &entry.rest {
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

    pub fn oldest(&self) -> Option<Instant> {
        self.clients.values().flatten().map(|entry| entry.since).min()
    }

    pub fn has_texts(&self) -> bool {
        self.clients.values().flatten().any(|entry| matches!(entry.rest, Rest::Texts(_)))
    }

    /// A batch only with `room` for it.
    pub fn take(&mut self, batch_tokens: usize, room: bool) -> Option<Work> {
        let texts = self.take_texts();
        if !texts.is_empty() {
            return Some(Work::Tokenize(texts));
        }
        if room { self.take_batch(batch_tokens).map(Work::Step) } else { None }
    }

    /// Texts of every client, of each as many bytes.
    fn take_texts(&mut self) -> Vec<(Arc<Job>, Vec<String>)> {
        let share = TOKENIZE_BYTES / self.turns.len().max(1);
        let mut taken = Vec::new();
        for client in &self.turns {
            let mut bytes = 0;
            for entry in self.clients.get_mut(client).into_iter().flatten() {
                if bytes > share {
                    break;
                }
                if let Rest::Texts(texts) = &mut entry.rest {
                    let texts = std::mem::take(texts);
                    bytes += texts.iter().map(String::len).sum::<usize>() + 1;
                    entry.rest = Rest::InTokenizer;
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
        self.forget_idle_clients();
        batch
    }

    fn forget_idle_clients(&mut self) {
        self.clients.retain(|_, entries| !entries.is_empty());
        self.turns.retain(|client| self.clients.contains_key(client));
    }
}

/// Moves sequences of one client to the batch: a turn's worth, only of the batch's model, and never more than it holds.
fn take_turn(
    entries: &mut VecDeque<Entry>,
    batch: &mut Option<Batch>,
    tokens: &mut usize,
    batch_tokens: usize,
) {
    let turn_end = (*tokens + TURN_TOKENS).min(batch_tokens);
    let mut at = 0;
    while *tokens < turn_end {
        let Some(entry) = entries.get_mut(at) else { return };
        let Rest::Sequences(sequences) = &mut entry.rest else {
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
            // The first sequence is taken whatever its length: a batch is never empty.
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
