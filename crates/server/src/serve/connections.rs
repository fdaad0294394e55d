//! The accept loop: bounds the number of connections, applies their time limits, and closes them on shutdown.
//!
//! The accept loop of axum has no limits on connections and on the time of headers. It also retries a failed accept at once;
//! here a failure (no file descriptors left) is retried after a pause and logged once per second at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::client::Client;
use super::listen::Listener;
use super::metrics::Metrics;
use super::options::ConnectionLimits;
use super::shutdown::Shutdown;
use super::write_timeout::{Stream, WriteTimeout};

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(1);
const HEADER_BYTES_MAX: usize = 64 << 10;

/// Serves one listener until `shutdown` reaches [`Shutdown::StopAccepting`] and all its connections have closed. `free` counts
/// the connections that all listeners together may still open.
pub async fn serve(
    listener: Listener,
    router: Router,
    metrics: Arc<Metrics>,
    limits: ConnectionLimits,
    free: Arc<Semaphore>,
    mut shutdown: watch::Receiver<Shutdown>,
) {
    let mut connections = JoinSet::new();
    let mut last_logged = None::<Instant>;
    let mut close = shutdown.clone();
    loop {
        while connections.try_join_next().is_some() {}
        // The order of the branches drains the accept backlog before the loop stops: closing the listener resets the connections
        // in the backlog. `CloseConnections` bounds the time for it.
        let slot = tokio::select! {
            biased;
            _ = close.wait_for(|phase| *phase >= Shutdown::CloseConnections) => break,
            slot = Arc::clone(&free).acquire_owned() => slot,
            _ = shutdown.wait_for(|phase| *phase >= Shutdown::StopAccepting) => break,
        };
        let accepted = tokio::select! {
            biased;
            _ = close.wait_for(|phase| *phase >= Shutdown::CloseConnections) => break,
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|phase| *phase >= Shutdown::StopAccepting) => break,
        };
        match accepted {
            Ok((stream, client)) => {
                let (router, metrics, shutdown) = (router.clone(), Arc::clone(&metrics), shutdown.clone());
                connections.spawn(async move {
                    let open = OpenConnection::new(&metrics);
                    connection(stream, client, router, limits, shutdown).await;
                    drop(open);
                    drop(slot);
                });
            }
            Err(error) => {
                if last_logged.is_none_or(|at| at.elapsed() > ACCEPT_LOG_INTERVAL) {
                    tracing::error!(error = %error, "accept_failed");
                    last_logged = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Counts a connection while it lives.
struct OpenConnection<'a>(&'a Metrics);

impl<'a> OpenConnection<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.connection_opened();
        Self(metrics)
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

async fn connection(
    stream: Stream,
    client: Client,
    router: Router,
    limits: ConnectionLimits,
    mut shutdown: watch::Receiver<Shutdown>,
) {
    let stream = TokioIo::new(WriteTimeout::new(stream, limits.write_timeout));
    let router = router.layer(axum::Extension(client));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(stream, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // Errors of a connection (invalid HTTP, a disconnected peer, a time limit) concern only its peer.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = shutdown.wait_for(|phase| *phase >= Shutdown::CloseConnections) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        _ = shutdown.wait_for(|phase| *phase == Shutdown::Abort) => {}
    }
}
