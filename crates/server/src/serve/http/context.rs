//! Data about one request that the layer, the extractor and the handler share.

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
        Self { client, started: Instant::now(), usage: Arc::default() }
    }

    /// Records the work of the request.
    pub fn set_usage(&self, usage: Usage) {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner) = Some(usage);
    }

    /// The recorded work.
    pub fn usage(&self) -> Option<Usage> {
        *self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
