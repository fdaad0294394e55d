//! Runs the queue: two threads take turns at forming a batch and waiting for the model.
//!
//! Batches form by themselves: while one is computed, requests gather for the next. Two threads, so that the end of one
//! batch, when some of the engine's workers are idle already, overlaps with the start of the next; the computing itself
//! always happens on the engine's one pool, however many models there are. The next batch is not formed before there is
//! [`IdleSignal`] for it: formed early it would be small, and what comes later would wait behind it.
//!
//! The lock guards the queue's data and is never held while a model computes. A batch that fails because a worker
//! panicked is run again, request by request, so that the one that causes it fails alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::{Cancel, EngineError, IdleSignal};

use super::admission::Permit;
use super::client::Client;
use super::job::{Done, Job, JobError, Reply, Wants};
use super::metrics::Metrics;
use super::model::Model;
use super::queue::{Batch, Entry, Item, Queue, Rest, Work};
use crate::compute_thread;

mod tokenizing;

const RUNNERS: usize = 2;

#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Tokens of one batch.
    pub batch_tokens: usize,
    /// How long a request may wait for others to join it. Zero: a free runner starts at once.
    pub batch_delay: Duration,
    /// Tokens of one request.
    pub request_tokens_max: usize,
}

pub struct Scheduler {
    shared: Arc<Shared>,
    runners: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    settings: Settings,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Default)]
struct State {
    queue: Queue,
    /// Jobs of the batches that are being computed.
    running: Vec<Arc<Job>>,
    /// Batches that leave no room for another one.
    inflight_batches: usize,
    closed: bool,
}

/// What a request is made of.
pub enum Input {
    Texts(Vec<String>),
    Sequences(Vec<Vec<u32>>),
    /// Texts that are to be tokenized and no more.
    ToPieces {
        texts: Vec<String>,
        special_tokens: bool,
    },
}

impl Input {
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) | Self::ToPieces { texts, .. } => texts.len(),
            Self::Sequences(sequences) => sequences.len(),
        }
    }
}

/// The right to an answer. Dropping it is giving up: what has not begun is taken out, what runs is told to stop.
pub struct Ticket {
    shared: Arc<Shared>,
    cancel: Cancel,
    reply: Reply,
    answered: bool,
}

impl Scheduler {
    pub fn start(settings: Settings, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { settings, metrics, state: Mutex::default(), wake: Condvar::new() });
        let scheduler = Self { shared, runners: Mutex::default() };
        for n in 0..RUNNERS {
            let shared = Arc::clone(&scheduler.shared);
            let run = move || {
                while let Some(work) = shared.next() {
                    // A bug here must cost one batch and not the server: jobs that are dropped tell their callers.
                    let _ = catch_unwind(AssertUnwindSafe(|| shared.run(work)));
                }
            };
            let runner = compute_thread::spawn_named(format!("inferd-batch-{n}"), run)?;
            scheduler.runners.lock().unwrap_or_else(PoisonError::into_inner).push(runner);
        }
        Ok(scheduler)
    }

    pub fn submit(&self, client: Client, model: Arc<dyn Model>, input: Input, permit: Permit) -> Ticket {
        let wants = match input {
            Input::ToPieces { special_tokens, .. } => Wants::Pieces { special_tokens },
            _ => Wants::Vectors,
        };
        let (job, reply) = Job::new(client.clone(), model, wants, input.len(), permit);
        let cancel = job.cancel.clone();
        let rest = match input {
            Input::Texts(texts) | Input::ToPieces { texts, .. } => Rest::Texts(texts),
            Input::Sequences(sequences) => {
                let tokens = sequences.iter().map(Vec::len).sum();
                job.count_tokens(tokens);
                let tokens_max = self.shared.settings.request_tokens_max;
                if tokens > tokens_max {
                    job.fail(JobError::TooManyTokens { tokens, tokens_max });
                }
                Rest::Sequences(sequences.into_iter().enumerate().collect())
            }
        };
        let mut state = self.shared.lock();
        if state.closed {
            job.fail(JobError::Stopped);
        } else if !cancel.is_cancelled() {
            state.queue.push(&client, Entry { job, rest, since: Instant::now() });
        }
        drop(state);
        self.shared.wake.notify_one();
        Ticket { shared: Arc::clone(&self.shared), cancel, reply, answered: false }
    }

    pub fn request_tokens_max(&self) -> usize {
        self.shared.settings.request_tokens_max
    }

    pub fn queued(&self) -> usize {
        self.shared.lock().queue.requests()
    }

    /// Ends what is queued and what runs; returns when the runners have ended.
    pub fn stop(&self) {
        self.shared.close();
        let runners = std::mem::take(&mut *self.runners.lock().unwrap_or_else(PoisonError::into_inner));
        for runner in runners {
            let _ = runner.join();
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Ticket {
    pub async fn answer(&mut self) -> Result<Done, JobError> {
        let answer = (&mut self.reply).await;
        self.answered = true;
        // A job that was dropped unanswered had a panic beside it.
        answer.unwrap_or(Err(JobError::Engine(EngineError::WorkerFailed)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        self.cancel.cancel();
        self.shared.forget_cancelled();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The queue's own steps do not panic halfway; and a lost entry tells its caller by being dropped.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let queued = state.queue.drain().into_iter().map(|entry| entry.job);
        let jobs: Vec<_> = queued.chain(state.running.iter().cloned()).collect();
        drop(state);
        self.wake.notify_all();
        for job in jobs {
            job.fail(JobError::Stopped);
        }
    }

    /// Blocks until there is work; `None` when the scheduler is closed.
    fn next(&self) -> Option<Work> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            let delay = self.delay(&state.queue);
            let room = state.inflight_batches == 0;
            if delay.is_zero()
                && let Some(work) = state.queue.take(self.settings.batch_tokens, room)
            {
                state.inflight_batches += usize::from(matches!(work, Work::Step(_)));
                return Some(work);
            }
            state = if delay.is_zero() {
                self.wake.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.wake.wait_timeout(state, delay).unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }

    /// How long to wait for a fuller batch.
    fn delay(&self, queue: &Queue) -> Duration {
        let Settings { batch_delay, batch_tokens, .. } = self.settings;
        if batch_delay.is_zero() || queue.has_texts() || queue.tokens(batch_tokens) >= batch_tokens {
            return Duration::ZERO;
        }
        queue.oldest().map_or(Duration::ZERO, |since| batch_delay.saturating_sub(since.elapsed()))
    }

    fn run(self: &Arc<Self>, work: Work) {
        match work {
            Work::Tokenize(jobs) => {
                for group in tokenizing::alike(jobs) {
                    self.tokenize(group);
                }
            }
            Work::Step(batch) => {
                let idle = SignalOnDrop(self.idle_signal());
                self.step(batch, &idle.0);
            }
        }
    }

    /// For a batch that was just taken: the next one may be, once.
    fn idle_signal(self: &Arc<Self>) -> IdleSignal {
        let (shared, told) = (Arc::clone(self), AtomicBool::new(false));
        IdleSignal::new(move || {
            if told.swap(true, Ordering::Relaxed) {
                return;
            }
            let mut state = shared.lock();
            state.inflight_batches -= 1;
            let is_awaited = state.queue.requests() > 0;
            drop(state);
            // A thread that wakes for nothing takes a core just when the products of a lone text want all of them.
            if is_awaited {
                shared.wake.notify_one();
            }
        })
    }

    /// Entries are dropped outside of the lock.
    fn forget_cancelled(&self) {
        let gone = self.lock().queue.remove_cancelled();
        drop(gone);
    }

    fn step(&self, Batch { model, items }: Batch, idle: &IdleSignal) {
        let jobs = jobs_of(&items);
        jobs.iter().for_each(|job| job.step_begins());
        let cancel = Cancel::shared(jobs.iter().map(|job| job.cancel.clone()).collect());
        let (slots, sequences): (Vec<_>, Vec<_>) =
            items.into_iter().map(|item| ((item.job, item.index), item.sequence)).unzip();
        let tokens = sequences.iter().map(Vec::len).sum();
        let started = Instant::now();
        self.lock().running.extend(jobs.iter().cloned());
        let result = catch_unwind(AssertUnwindSafe(|| model.step(&sequences, &cancel, idle)))
            .unwrap_or(Err(EngineError::WorkerFailed));
        idle.notify();
        self.lock().running.retain(|running| !jobs.iter().any(|job| Arc::ptr_eq(job, running)));
        self.metrics.batch(sequences.len(), tokens, started.elapsed());
        match result {
            Ok(vectors) => {
                for ((job, index), vector) in slots.into_iter().zip(vectors) {
                    job.fulfil(index, vector);
                }
            }
            Err(EngineError::WorkerFailed) if jobs.len() > 1 => {
                let items = slots.into_iter().zip(sequences);
                let items: Vec<_> =
                    items.map(|((job, index), sequence)| Item { job, index, sequence }).collect();
                for items in by_job(items) {
                    self.step(Batch { model: Arc::clone(&model), items }, idle);
                }
            }
            Err(error) => {
                for job in &jobs {
                    job.fail(JobError::Engine(error.clone()));
                }
                // Sequences of theirs that were not in this batch.
                self.forget_cancelled();
            }
        }
    }
}

/// A panic must not leave the queue without room for ever.
struct SignalOnDrop(IdleSignal);

impl Drop for SignalOnDrop {
    fn drop(&mut self) {
        self.0.notify();
    }
}

fn jobs_of(items: &[Item]) -> Vec<Arc<Job>> {
    let mut jobs: Vec<Arc<Job>> = Vec::new();
    for item in items {
        if !jobs.iter().any(|job| Arc::ptr_eq(job, &item.job)) {
            jobs.push(Arc::clone(&item.job));
        }
    }
    jobs
}

fn by_job(items: Vec<Item>) -> Vec<Vec<Item>> {
    let mut groups: Vec<Vec<Item>> = Vec::new();
    for item in items {
        match groups.iter_mut().find(|group| Arc::ptr_eq(&group[0].job, &item.job)) {
            Some(group) => group.push(item),
            None => groups.push(vec![item]),
        }
    }
    groups
}
