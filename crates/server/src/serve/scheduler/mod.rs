//! Runs the queue: two runner threads take turns at forming a batch and waiting for the model.
//!
//! While one batch is computed, requests collect for the next. Two runners, so that the end of a batch, when some
//! members of the thread team are idle, overlaps with the start of the next one; all computing happens on the engine's one
//! thread team, for any number of models. The runner is a member of it while it waits for its batch, so at most as many
//! threads compute as the team has members. The next batch is formed when the engine reports an idle member
//! ([`engine::IdleSignal`]): formed earlier it would be small, and later requests would wait behind it.
//!
//! The lock guards the data of the queue and is never held while a model computes. A batch that fails because a worker
//! panicked is computed again request by request, so that only the request that causes the panic fails.

mod compute;
mod core;
mod shares;
mod tokenize;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine::{Cancel, EngineError};

use self::core::{Core, Work};
use super::admission::Permit;
use super::client::Client;
use super::job::{Job, JobError, JobOutput, OutputKind, ResponseReceiver};
use super::metrics::Metrics;
use super::model::Model;
use super::queue::{PendingInput, QueueEntry};
use super::text::Text;
use super::text_work::TextWork;
use crate::compute_thread;

pub use self::core::BatchSettings;

const RUNNERS: usize = 2;

/// The queue and its runners.
pub struct Scheduler {
    core: Arc<Core>,
    runners: Mutex<Vec<JoinHandle<()>>>,
}

/// Inputs of a request.
pub enum Input {
    Texts(Vec<Text>),
    Sequences(Vec<Vec<u32>>),
    /// Texts that are tokenized and not embedded.
    TokenizeOnly {
        texts: Vec<Text>,
        special_tokens: bool,
    },
}

impl Input {
    /// Number of inputs.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) | Self::TokenizeOnly { texts, .. } => texts.len(),
            Self::Sequences(sequences) => sequences.len(),
        }
    }

    fn output_kind(&self) -> OutputKind {
        match self {
            Self::TokenizeOnly { special_tokens, .. } => {
                OutputKind::Tokens { special_tokens: *special_tokens }
            }
            Self::Texts(_) | Self::Sequences(_) => OutputKind::Embeddings,
        }
    }
}

/// Receives the response of a request. Dropping it cancels the request: what waits is removed, what runs is stopped.
pub struct ResponseHandle {
    core: Arc<Core>,
    cancel: Cancel,
    job: Weak<Job>,
    receiver: ResponseReceiver,
    received: bool,
}

impl Scheduler {
    /// Starts the runners.
    pub fn start(settings: BatchSettings, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let scheduler = Self { core: Arc::new(Core::new(settings, metrics)), runners: Mutex::default() };
        for n in 0..RUNNERS {
            let core = Arc::clone(&scheduler.core);
            let run = move || {
                while let Some(work) = core.next() {
                    // A panic costs one batch, not the server: the callers of dropped jobs receive an error.
                    let _ = catch_unwind(AssertUnwindSafe(|| run(&core, work)));
                }
            };
            let runner = compute_thread::spawn_named(format!("inferd-batch-{n}"), run)?;
            scheduler.runners.lock().unwrap_or_else(PoisonError::into_inner).push(runner);
        }
        Ok(scheduler)
    }

    /// Queues a request.
    pub fn submit(
        &self,
        client: Client,
        model: Arc<dyn Model>,
        input: Input,
        permit: Permit,
    ) -> ResponseHandle {
        let (job, receiver) = Job::new(client, model, input.output_kind(), input.len(), permit);
        let (cancel, weak) = (job.cancel.clone(), Arc::downgrade(&job));
        let input = match input {
            Input::Texts(texts) | Input::TokenizeOnly { texts, .. } => {
                PendingInput::Texts(TextWork::new(texts))
            }
            Input::Sequences(sequences) => {
                let tokens = sequences.iter().map(Vec::len).sum();
                let tokens_max = self.request_tokens_max();
                if let Err(error) = job.add_tokens(tokens, size_of::<u32>(), tokens_max) {
                    job.fail(error);
                }
                PendingInput::Sequences(sequences.into_iter().enumerate().collect())
            }
        };
        let mut state = self.core.lock();
        if state.closed {
            job.fail(JobError::Stopped);
        } else if !cancel.is_cancelled() {
            state.queue.push(QueueEntry { job, input, since: Instant::now() });
        }
        drop(state);
        self.core.wake_runner();
        ResponseHandle { core: Arc::clone(&self.core), cancel, job: weak, receiver, received: false }
    }

    /// Limit on the tokens of one request.
    pub fn request_tokens_max(&self) -> usize {
        self.core.settings().request_tokens_max
    }

    /// Requests in the queue.
    pub fn queued(&self) -> usize {
        self.core.lock().queue.requests()
    }

    /// Tokens of all texts in the queue that are tokenized.
    pub fn queued_tokens(&self) -> usize {
        self.core.lock().queue.tokens(usize::MAX)
    }

    /// Wakes runners that wait for work, so that they return the memory of their heaps.
    pub fn wake_idle_runners(&self) {
        self.core.wake_all_runners();
    }

    /// Cancels all requests; returns when the runners have ended.
    pub fn stop(&self) {
        self.core.close();
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

fn run(core: &Arc<Core>, work: Work) {
    match work {
        Work::Texts(slice) => {
            let _done = OnDrop(|| core.texts_done());
            tokenize::tokenize(core, slice);
        }
        Work::TokenizeOnly(slice) => {
            let began = Instant::now();
            let _done = OnDrop(|| core.slice_done(began));
            tokenize::tokenize(core, slice);
        }
        Work::Compute(batch) => compute::compute(core, batch),
    }
}

/// Runs also after a panic, which would otherwise block the queue for ever.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl ResponseHandle {
    /// Whether a step of the request has begun.
    pub fn has_begun(&self) -> bool {
        self.job.upgrade().is_some_and(|job| job.has_begun())
    }

    /// Waits for the response. A request of which no step begins within the limit on the wait fails.
    pub async fn receive(&mut self) -> Result<JobOutput, JobError> {
        let limit = self.core.settings().queue_timeout;
        let response = match limit {
            None => (&mut self.receiver).await,
            Some(limit) => match tokio::time::timeout(limit, &mut self.receiver).await {
                Ok(response) => response,
                Err(_) => {
                    self.fail_waiting(limit);
                    (&mut self.receiver).await
                }
            },
        };
        self.received = true;
        // A job is dropped without a response only after a panic.
        response.unwrap_or(Err(JobError::Engine(EngineError::WorkerFailed)))
    }
}

impl ResponseHandle {
    fn fail_waiting(&self, limit: Duration) {
        if let Some(job) = self.job.upgrade() {
            job.fail_waiting(JobError::QueueTimeout { limit });
        }
        self.core.remove_cancelled();
    }
}

impl Drop for ResponseHandle {
    fn drop(&mut self) {
        if !self.received {
            self.cancel.cancel();
            self.core.remove_cancelled();
        }
    }
}
