//! Data about one request that the layer, the extractor and the handler share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::super::client::Client;

/// A request extension.
#[derive(Clone)]
pub struct RequestContext {
    pub client: Client,
    /// When the headers had been received.
    pub started: Instant,
    usage: Arc<Mutex<Option<Usage>>>,
    phase: Arc<Mutex<Phase>>,
}

/// What a request waits for, for the log of a timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Body,
    ModelLoad,
    Queue,
    Compute,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Body => "body",
            Self::ModelLoad => "model load",
            Self::Queue => "queue",
            Self::Compute => "compute",
        })
    }
}

/// Work of a request, for its log line.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub tokens: usize,
    pub queued: Duration,
}

impl RequestContext {
    /// The context of a request that starts now.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            started: Instant::now(),
            usage: Arc::default(),
            phase: Arc::new(Mutex::new(Phase::Body)),
        }
    }

    /// Records the work of the request.
    pub fn set_usage(&self, usage: Usage) {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = Some(usage);
    }

    /// Records what the request waits for.
    pub fn set_phase(&self, phase: Phase) {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    /// What the request waits for, or waited for last.
    pub fn phase(&self) -> Phase {
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The recorded work.
    pub fn usage(&self) -> Option<Usage> {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
