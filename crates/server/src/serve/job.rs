//! One admitted request on its way through the scheduler: what it collects, who waits for it, and the permit that it holds
//! until its work has stopped.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::{Cancel, EngineError, TokenWithOffsets};
use tokio::sync::oneshot;

use super::admission::Permit;
use super::client::Client;
use super::model::Model;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    Vectors,
    Pieces { special_tokens: bool },
}

pub struct Job {
    pub client: Client,
    pub model: Arc<dyn Model>,
    pub wants: Wants,
    pub cancel: Cancel,
    state: Mutex<State>,
}

struct State {
    vectors: Vec<Vec<f32>>,
    missing: usize,
    pieces: Vec<Vec<TokenWithOffsets>>,
    tokens: usize,
    submitted: Instant,
    first_step: Option<Instant>,
    /// Both leave with the answer.
    reply: Option<oneshot::Sender<Result<Done, JobError>>>,
    permit: Option<Permit>,
}

pub struct Done {
    /// In the order of the request.
    pub vectors: Vec<Vec<f32>>,
    /// Of a job that wants pieces, and no vectors then.
    pub pieces: Vec<Vec<TokenWithOffsets>>,
    pub tokens: usize,
    /// From submission to the first step, or to the tokenizer if that is all.
    pub queued: Duration,
    pub permit: Permit,
}

#[derive(Debug)]
pub enum JobError {
    Engine(EngineError),
    TooManyTokens {
        tokens: usize,
        tokens_max: usize,
    },
    /// The server stops before this request had its turn.
    Stopped,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(error) => error.fmt(f),
            Self::TooManyTokens { tokens, tokens_max } => {
                write!(f, "the request has {tokens} tokens; this server takes {tokens_max} in one request")
            }
            Self::Stopped => f.write_str("the server is stopping"),
        }
    }
}

pub type Reply = oneshot::Receiver<Result<Done, JobError>>;

impl Job {
    pub fn new(
        client: Client,
        model: Arc<dyn Model>,
        wants: Wants,
        outputs: usize,
        permit: Permit,
    ) -> (Arc<Job>, Reply) {
        let (sender, reply) = oneshot::channel();
        let state = State {
            vectors: if wants == Wants::Vectors { vec![Vec::new(); outputs] } else { Vec::new() },
            missing: outputs,
            pieces: Vec::new(),
            tokens: 0,
            submitted: Instant::now(),
            first_step: None,
            reply: Some(sender),
            permit: Some(permit),
        };
        let job = Job { client, model, wants, cancel: Cancel::default(), state: Mutex::new(state) };
        (Arc::new(job), reply)
    }

    pub fn count_tokens(&self, tokens: usize) {
        self.lock().tokens = tokens;
    }

    pub fn step_begins(&self) {
        self.lock().first_step.get_or_insert_with(Instant::now);
    }

    /// One of its vectors. With the last one the answer goes out.
    pub fn fulfil(&self, index: usize, vector: Vec<f32>) {
        let mut state = self.lock();
        state.vectors[index] = vector;
        state.missing -= 1;
        if state.missing == 0 {
            Self::answer(state);
        }
    }

    /// All of its pieces: the answer.
    pub fn fulfil_pieces(&self, pieces: Vec<Vec<TokenWithOffsets>>) {
        let mut state = self.lock();
        state.pieces = pieces;
        Self::answer(state);
    }

    fn answer(mut state: MutexGuard<'_, State>) {
        let (Some(reply), Some(permit)) = (state.reply.take(), state.permit.take()) else { return };
        let queued = state.first_step.unwrap_or(state.submitted) - state.submitted;
        let (vectors, pieces) = (std::mem::take(&mut state.vectors), std::mem::take(&mut state.pieces));
        let done = Done { vectors, pieces, tokens: state.tokens, queued, permit };
        drop(state);
        // The caller may be gone: then the answer is dropped here, and with it the permit.
        let _ = reply.send(Ok(done));
    }

    /// The rest of its work is not wanted any more. The permit stays until the last of it has stopped.
    pub fn fail(&self, error: JobError) {
        self.cancel.cancel();
        if let Some(reply) = self.lock().reply.take() {
            let _ = reply.send(Err(error));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
