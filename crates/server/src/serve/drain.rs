//! Shutdown: stops accepting, finishes in-flight requests, closes connections.

use std::time::{Duration, Instant};

use super::server::Server;
use super::shutdown::Shutdown;
use super::state::AppState;

/// Time between the last response and the end, while clients keep connections open. A request on such a connection gets
/// status 503 and `connection: close`; closing the connection while a request is on its way would lose the request.
const KEPT_CONNECTIONS_TIME: Duration = Duration::from_secs(1);
/// Time for connections to send their last responses.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Result of a drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainOutcome {
    /// Every admitted request got its response.
    Complete,
    /// The time was over; the remaining requests got status 503.
    TimedOut {
        /// Their number.
        aborted: usize,
    },
}

impl Server {
    /// Stops accepting, finishes in-flight requests, and ends the server.
    pub fn drain(mut self, time_max: Duration) -> DrainOutcome {
        let mut listeners = std::mem::take(&mut self.listeners);
        let outcome = self.runtime.block_on(async {
            let outcome = finish_requests(&self.state, time_max).await;
            self.shutdown.send_replace(Shutdown::StopAccepting);
            let deadline = Instant::now() + KEPT_CONNECTIONS_TIME;
            while self.connections.len() > 0 && Instant::now() < deadline {
                tokio::time::sleep(POLL_INTERVAL).await;
            }
            self.shutdown.send_replace(Shutdown::CloseConnections);
            let closed = async { while listeners.join_next().await.is_some() {} };
            if tokio::time::timeout(CLOSE_TIME_MAX, closed).await.is_err() {
                self.shutdown.send_replace(Shutdown::Abort);
                while listeners.join_next().await.is_some() {}
            }
            outcome
        });
        match outcome {
            DrainOutcome::Complete => tracing::info!(outcome = %"every request got its response", "stopped"),
            DrainOutcome::TimedOut { aborted } => {
                tracing::warn!(outcome = %"the drain timed out", aborted, "stopped");
            }
        }
        self.state.scheduler.stop();
        outcome
    }
}

/// Rejects new requests and waits until no permit is held. After `time_max` it stops the remaining work.
pub async fn finish_requests(state: &AppState, time_max: Duration) -> DrainOutcome {
    state.admission.drain();
    let deadline = Instant::now() + time_max;
    loop {
        let requests = match state.admission.inflight() {
            (0, 0) => return DrainOutcome::Complete,
            (requests, _) => requests,
        };
        if Instant::now() >= deadline {
            state.scheduler.stop();
            return DrainOutcome::TimedOut { aborted: requests };
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
