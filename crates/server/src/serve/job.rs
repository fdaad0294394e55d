//! One admitted request inside the scheduler: its partial results, the channel of its response, and its permit, which
//! it holds until its work has stopped.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::{Cancel, EngineError, TokenWithOffsets};
use tokio::sync::oneshot;

use super::admission::Permit;
use super::client::Client;
use super::model::Model;

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
    tokenized: Vec<Vec<TokenWithOffsets>>,
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
    /// The tokens of each text; empty for [`OutputKind::Embeddings`].
    pub tokenized: Vec<Vec<TokenWithOffsets>>,
    pub token_count: usize,
    /// Time from submission to the first step, or to the tokenizer for [`OutputKind::Tokens`].
    pub queued: Duration,
    pub permit: Permit,
}

/// Reason why a job has no result.
#[derive(Debug)]
pub enum JobError {
    Engine(EngineError),
    TooManyTokens {
        tokens: usize,
        tokens_max: usize,
    },
    /// The server stopped before the request was computed.
    Stopped,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The hint is for the operator, not for the client.
            Self::Engine(error) => f.write_str(&error.diagnostic().fields().message),
            Self::TooManyTokens { tokens, tokens_max } => {
                write!(f, "the request has {tokens} tokens; the limit of this server is {tokens_max}")
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

    /// Records the number of tokens.
    pub fn set_token_count(&self, tokens: usize) {
        self.lock().token_count = tokens;
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

    /// Adds the tokens of all texts and sends the response.
    pub fn add_tokens(&self, tokenized: Vec<Vec<TokenWithOffsets>>) {
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
