//! One admitted request inside the scheduler: its partial results, the channel of its response, and its permit, which
//! it holds until its work has stopped.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::{Cancel, EngineError, Token};
use tokio::sync::oneshot;

use super::admission::{Permit, Rejection};
use super::client::Client;
use super::model::Model;
use super::text::Text;

/// The kind of result that a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    Embeddings,
    Tokens { special_tokens: bool },
}

/// A request in the scheduler.
pub struct Job {
    pub client: Client,
    pub model: Arc<dyn Model>,
    pub output_kind: OutputKind,
    pub cancel: Cancel,
    state: Mutex<State>,
}

struct State {
    vectors: Vec<Vec<f32>>,
    missing: usize,
    tokenized: Vec<(Text, Vec<Token>)>,
    token_count: usize,
    submitted: Instant,
    first_step: Option<Instant>,
    /// `None` after the response; so is `permit`.
    response: Option<oneshot::Sender<Result<JobOutput, JobError>>>,
    permit: Option<Permit>,
}

/// Result of a job.
pub struct JobOutput {
    /// In the order of the request; empty for [`OutputKind::Tokens`].
    pub vectors: Vec<Vec<f32>>,
    /// Each text with its tokens; empty for [`OutputKind::Embeddings`].
    pub tokenized: Vec<(Text, Vec<Token>)>,
    pub token_count: usize,
    /// Time from submission to the first step, or to the tokenizer for [`OutputKind::Tokens`].
    pub queued: Duration,
    pub permit: Permit,
}

/// Reason why a job has no result.
#[derive(Debug)]
pub enum JobError {
    Engine(EngineError),
    /// Counting stops above the limit.
    TooManyTokens {
        tokens_max: usize,
    },
    /// The tokens exceed the bytes of all requests, or the memory of the process.
    Rejected(Rejection),
    /// No step had begun within `--queue-timeout`.
    QueueTimeout {
        limit: Duration,
    },
    /// The server stopped before the request was computed.
    Stopped,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The hint is for the operator, not for the client.
            Self::Engine(error) => f.write_str(&error.diagnostic().fields().message),
            Self::TooManyTokens { tokens_max } => {
                write!(f, "the request has more than {tokens_max} tokens, the limit of this server")
            }
            Self::Rejected(Rejection::Memory(_)) => f.write_str("the server has reached its bound on memory"),
            Self::Rejected(_) => f.write_str("too many requests are in flight"),
            Self::QueueTimeout { limit } => {
                write!(
                    f,
                    "the request waited {} s for computation, the limit of this server",
                    limit.as_secs_f64()
                )
            }
            Self::Stopped => f.write_str("the server is stopping"),
        }
    }
}

/// Receives the result of a job.
pub type ResponseReceiver = oneshot::Receiver<Result<JobOutput, JobError>>;

impl Job {
    /// A job with `outputs` results, and the receiver of its response.
    pub fn new(
        client: Client,
        model: Arc<dyn Model>,
        output_kind: OutputKind,
        outputs: usize,
        permit: Permit,
    ) -> (Arc<Job>, ResponseReceiver) {
        let (sender, receiver) = oneshot::channel();
        let state = State {
            vectors: if output_kind == OutputKind::Embeddings {
                vec![Vec::new(); outputs]
            } else {
                Vec::new()
            },
            missing: outputs,
            tokenized: Vec::new(),
            token_count: 0,
            submitted: Instant::now(),
            first_step: None,
            response: Some(sender),
            permit: Some(permit),
        };
        let job = Job { client, model, output_kind, cancel: Cancel::default(), state: Mutex::new(state) };
        (Arc::new(job), receiver)
    }

    /// Counts further tokens, and their bytes. Fails above either limit.
    pub fn add_tokens(
        &self,
        tokens: usize,
        bytes_per_token: usize,
        tokens_max: usize,
    ) -> Result<(), JobError> {
        let mut state = self.lock();
        state.token_count += tokens;
        if state.token_count > tokens_max {
            return Err(JobError::TooManyTokens { tokens_max });
        }
        let charged = state.permit.as_mut().map(|permit| permit.charge((tokens * bytes_per_token) as u64));
        charged.unwrap_or(Ok(())).map_err(JobError::Rejected)
    }

    /// Records the start of the first step.
    pub fn step_begins(&self) {
        self.lock().first_step.get_or_insert_with(Instant::now);
    }

    /// Whether the first step has begun.
    pub fn has_begun(&self) -> bool {
        self.lock().first_step.is_some()
    }

    /// Adds one vector. The last one sends the response.
    pub fn add_vector(&self, index: usize, vector: Vec<f32>) {
        let mut state = self.lock();
        state.vectors[index] = vector;
        state.missing -= 1;
        if state.missing == 0 {
            Self::respond(state);
        }
    }

    /// Sends the tokens of all texts.
    pub fn finish_tokens(&self, tokenized: Vec<(Text, Vec<Token>)>) {
        let mut state = self.lock();
        state.tokenized = tokenized;
        Self::respond(state);
    }

    fn respond(mut state: MutexGuard<'_, State>) {
        let (Some(response), Some(permit)) = (state.response.take(), state.permit.take()) else { return };
        let output = JobOutput {
            vectors: std::mem::take(&mut state.vectors),
            tokenized: std::mem::take(&mut state.tokenized),
            token_count: state.token_count,
            queued: state.first_step.unwrap_or(state.submitted) - state.submitted,
            permit,
        };
        drop(state);
        // Without a receiver the output is dropped here, and with it the permit.
        let _ = response.send(Ok(output));
    }

    /// Cancels the rest of the work and sends the error. The permit is held until the work has stopped.
    pub fn fail(&self, error: JobError) {
        self.cancel.cancel();
        if let Some(response) = self.lock().response.take() {
            let _ = response.send(Err(error));
        }
    }

    /// Fails a job of which no step has begun. A job that has begun is not changed.
    pub fn fail_waiting(&self, error: JobError) {
        let mut state = self.lock();
        if state.first_step.is_some() {
            return;
        }
        self.cancel.cancel();
        if let Some(response) = state.response.take() {
            drop(state);
            let _ = response.send(Err(error));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
