//! The state that submitters and runners share.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::super::job::{Job, JobError};
use super::super::metrics::Metrics;
use super::super::queue::{Queue, Work};
use crate::memory::collect;

/// Formation of batches.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Tokens of one batch.
    pub batch_tokens: usize,
    /// Time that a request waits for others to join its batch. Zero: an idle runner starts at once.
    pub batch_delay: Duration,
    /// Tokens of one request.
    pub request_tokens_max: usize,
}

/// The queue with its lock.
pub struct Core {
    settings: Settings,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    changed: Condvar,
}

/// Data behind the lock.
#[derive(Default)]
pub struct State {
    pub queue: Queue,
    /// Jobs of the batches that are being computed.
    pub running: Vec<Arc<Job>>,
    /// Batches that occupy the engine so that no other batch may begin.
    pub occupying_batches: usize,
    pub closed: bool,
}

impl Core {
    /// An empty queue.
    pub fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self { settings, metrics, state: Mutex::default(), changed: Condvar::new() }
    }

    /// The settings.
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// The metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Locks the state.
    pub fn lock(&self) -> MutexGuard<'_, State> {
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
            let may_compute = state.occupying_batches == 0;
            if delay.is_zero()
                && let Some(work) = state.queue.take(self.settings.batch_tokens, may_compute)
            {
                state.occupying_batches += usize::from(matches!(work, Work::Compute(_)));
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

    /// Time to wait for a fuller batch.
    fn delay(&self, queue: &Queue) -> Duration {
        let Settings { batch_delay, batch_tokens, .. } = self.settings;
        if batch_delay.is_zero() || queue.has_texts() || queue.tokens(batch_tokens) >= batch_tokens {
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

    /// Records the tokens of a job. A job with too many tokens fails, and the result is false.
    pub fn count_tokens(&self, job: &Job, tokens: usize) -> bool {
        let tokens_max = self.settings.request_tokens_max;
        job.set_token_count(tokens);
        if tokens > tokens_max {
            job.fail(JobError::TooManyTokens { tokens, tokens_max });
        }
        tokens <= tokens_max
    }
}
