//! The requests of one kind, by client.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::super::client::Client;
use super::super::job::Job;
use super::{Batch, Item, PendingInput, QueueEntry, Slice};

/// Round-robin quantum per client in a batch, in tokens.
const QUANTUM_TOKENS: usize = 256;

#[derive(Default)]
pub struct Lane {
    clients: HashMap<Client, VecDeque<QueueEntry>>,
    /// Every client with an entry, once; the first is next in a batch.
    turns: VecDeque<Client>,
    /// The same; the first is next at the tokenizer.
    text_turns: VecDeque<Client>,
}

impl Lane {
    pub fn push(&mut self, entry: QueueEntry) {
        let client = &entry.job.client;
        if !self.clients.contains_key(client) {
            self.turns.push_back(client.clone());
            self.text_turns.push_back(client.clone());
        }
        self.clients.entry(client.clone()).or_default().push_back(entry);
    }

    pub fn entry(&mut self, job: &Arc<Job>) -> Option<&mut QueueEntry> {
        let entries = self.clients.get_mut(&job.client)?;
        entries.iter_mut().find(|entry| Arc::ptr_eq(&entry.job, job))
    }

    pub fn remove(&mut self, job: &Arc<Job>) -> Option<QueueEntry> {
        let entries = self.clients.get_mut(&job.client)?;
        let at = entries.iter().position(|entry| Arc::ptr_eq(&entry.job, job))?;
        let entry = entries.remove(at);
        self.remove_idle_clients();
        entry
    }

    pub fn entries(&self) -> impl Iterator<Item = &QueueEntry> {
        self.clients.values().flatten()
    }

    pub fn into_entries(self) -> impl Iterator<Item = QueueEntry> {
        self.clients.into_values().flatten()
    }

    pub fn remove_cancelled(&mut self) -> Vec<QueueEntry> {
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

    /// The first requests of clients in turn, until their texts have `bytes_max` bytes. The last client taken is the last
    /// one of the next slice, so a client with long texts does not keep others from their turn.
    pub fn take_slice(&mut self, bytes_max: usize) -> Slice {
        let (mut slice, mut bytes, mut passed_over) = (Slice::new(), 0, 0);
        while bytes < bytes_max && passed_over < self.text_turns.len() {
            let Some(client) = self.text_turns.pop_front() else { break };
            let entries = self.clients.get_mut(&client).into_iter().flatten();
            let mut waiting = entries.filter(|entry| matches!(entry.input, PendingInput::Texts(_)));
            passed_over += 1;
            if let Some(entry) = waiting.next()
                && let PendingInput::Texts(work) =
                    std::mem::replace(&mut entry.input, PendingInput::Tokenizing)
            {
                bytes += work.bytes() + 1;
                slice.push((Arc::clone(&entry.job), work));
                passed_over = 0;
            }
            self.text_turns.push_back(client);
        }
        slice
    }

    pub fn take_batch(&mut self, batch_tokens: usize) -> Option<Batch> {
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
        self.text_turns.retain(|client| self.clients.contains_key(client));
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.turns.is_empty() && self.text_turns.is_empty()
    }
}

/// Moves sequences of one client to the batch: one quantum, of the batch's model only, within the tokens of the batch.
fn take_turn(
    entries: &mut VecDeque<QueueEntry>,
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
