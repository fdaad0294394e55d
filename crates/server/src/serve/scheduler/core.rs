//! The state that submitters and runners share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::super::job::{Job, JobError};
use super::super::metrics::Metrics;
use super::super::queue::{Batch, LaneKind, Queue, Slice};
use super::shares::{Choice, Shares};
use crate::memory::collect;

/// Formation of batches.
#[derive(Debug, Clone, Copy)]
pub struct BatchSettings {
    /// Tokens of one batch.
    pub batch_tokens: usize,
    /// Time that a request waits for others to join its batch. Zero: an idle runner starts at once.
    pub batch_delay: Duration,
    /// Time that a request waits for its first step; `None`: no limit.
    pub queue_timeout: Option<Duration>,
    /// Tokens of one request.
    pub request_tokens_max: usize,
    /// Slices of `/tokenize` at the same time: the number of compute threads.
    pub tokenize_max: usize,
}

/// Work for one runner.
pub enum Work {
    /// Texts of requests that will be embedded. Beside a batch, so that the next one is ready when it ends.
    Texts(Slice),
    /// Texts of requests that only tokenize, in the place of a batch.
    TokenizeOnly(Slice),
    Compute(Batch),
}

/// The queue with its lock.
pub struct Core {
    settings: BatchSettings,
    metrics: Arc<Metrics>,
    state: Mutex<SchedulerState>,
    changed: Condvar,
}

/// The data behind the lock.
#[derive(Default)]
pub struct SchedulerState {
    pub queue: Queue,
    /// Jobs of the batches that are being computed.
    pub running: Vec<Arc<Job>>,
    pub shares: Shares,
    /// A runner tokenizes texts of embeddings. One at a time: the other one computes.
    pub tokenizes: bool,
    pub closed: bool,
}

impl Core {
    /// An empty queue.
    pub fn new(settings: BatchSettings, metrics: Arc<Metrics>) -> Self {
        Self { settings, metrics, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The settings.
    pub fn settings(&self) -> BatchSettings {
        self.settings
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Locks the state.
    pub fn lock(&self) -> MutexGuard<'_, SchedulerState> {
        // No step of the queue panics halfway, and the caller of a dropped entry receives an error.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes one runner.
    pub fn wake_runner(&self) {
        self.changed.notify_one();
    }

    /// Wakes all runners.
    pub fn wake_all_runners(&self) {
        self.changed.notify_all();
    }

    /// Fails all requests and ends the runners.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let queued = state.queue.drain().into_iter().map(|entry| entry.job);
        let jobs: Vec<_> = queued.chain(state.running.iter().cloned()).collect();
        drop(state);
        self.changed.notify_all();
        for job in jobs {
            job.fail(JobError::Stopped);
        }
    }

    /// Blocks until there is work; `None` after [`Core::close`].
    pub fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let delay = self.delay(&state.queue);
            if delay.is_zero()
                && let Some(work) = self.take(&mut state)
            {
                return Some(work);
            }
            // Only without work, and without the lock.
            if collect::is_due() {
                drop(state);
                collect::run_if_due();
                state = self.lock();
                continue;
            }
            state = if delay.is_zero() {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.changed.wait_timeout(state, delay).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    fn take(&self, state: &mut SchedulerState) -> Option<Work> {
        if !state.tokenizes {
            let slice = state.queue.take_slice(LaneKind::Embeddings);
            if !slice.is_empty() {
                state.tokenizes = true;
                return Some(Work::Texts(slice));
            }
        }
        let has_sequences = state.queue.tokens(1) > 0;
        let has_texts = state.queue.has_texts(LaneKind::TokenizeOnly);
        match state.shares.choose(has_sequences, has_texts, self.settings.tokenize_max) {
            Choice::Wait => None,
            Choice::TokenizeSlice => {
                state.shares.slice_begins();
                Some(Work::TokenizeOnly(state.queue.take_slice(LaneKind::TokenizeOnly)))
            }
            Choice::Batch => {
                let batch = state.queue.take_batch(self.settings.batch_tokens)?;
                state.shares.batch_begins();
                Some(Work::Compute(batch))
            }
        }
    }

    /// Accounts for a slice of texts of embeddings.
    pub fn texts_done(&self) {
        self.lock().tokenizes = false;
        // This runner takes the next work; the other one may wait for what is left.
        self.wake_runner();
    }

    /// Accounts for a slice of requests that only tokenize.
    pub fn slice_done(&self, began: Instant) {
        self.lock().shares.slice_took(began.elapsed());
        self.wake_runner();
    }

    /// Time to wait for a fuller batch.
    fn delay(&self, queue: &Queue) -> Duration {
        let BatchSettings { batch_delay, batch_tokens, .. } = self.settings;
        if batch_delay.is_zero()
            || queue.has_texts(LaneKind::Embeddings)
            || queue.has_texts(LaneKind::TokenizeOnly)
            || queue.tokens(batch_tokens) >= batch_tokens
        {
            return Duration::ZERO;
        }
        queue.oldest().map_or(Duration::ZERO, |since| batch_delay.saturating_sub(since.elapsed()))
    }

    /// Removes cancelled requests.
    pub fn remove_cancelled(&self) {
        let cancelled = self.lock().queue.remove_cancelled();
        // Dropped after the lock is released.
        drop(cancelled);
    }
}
