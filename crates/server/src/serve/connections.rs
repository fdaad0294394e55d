//! From a listener to answered requests: accepts up to a number of connections, gives each its time limits, and lets them
//! end when the server drains.
//!
//! axum's own accept loop is not used because it has no limits: not on connections, not on the time of headers, and an
//! accept that fails (no file descriptors left) is retried here with a pause and told once a second at most.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::app::App;
use super::client::Client;
use super::listen::Listener;
use super::log::Level;
use super::stall_guard::{StallGuard, Stream};

#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    pub connections_max: usize,
    /// From the first moment of a connection, or the end of its last answer, to the end of the next headers.
    pub header_timeout: Duration,
    /// In which a client must take an answer, or its part of a long one.
    pub write_timeout: Duration,
}

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const HEADER_BYTES_MAX: usize = 64 << 10;

/// What listeners and connections are told in turn: to accept nobody more, to close after the last answer, and that the
/// time for that is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ending {
    Open,
    Deaf,
    Closing,
    Cut,
}

/// One listener's. Runs until `ending` says [`Ending::Deaf`] and every connection has ended. `free` are the connections that all
/// listeners together may still open.
pub async fn serve(
    listener: Listener,
    router: Router,
    app: Arc<App>,
    limits: ConnectionLimits,
    free: Arc<Semaphore>,
    mut ending: watch::Receiver<Ending>,
) {
    let mut connections = JoinSet::new();
    let mut last_complaint = None::<Instant>;
    let mut closing = ending.clone();
    loop {
        while connections.try_join_next().is_some() {}
        // Who has connected already is asked in, also at the end: a listener that closes resets them. But not for ever.
        let place = tokio::select! {
            biased;
            _ = closing.wait_for(|ending| *ending >= Ending::Closing) => break,
            place = Arc::clone(&free).acquire_owned() => place,
            _ = ending.wait_for(|ending| *ending >= Ending::Deaf) => break,
        };
        let accepted = tokio::select! {
            biased;
            _ = closing.wait_for(|ending| *ending >= Ending::Closing) => break,
            accepted = listener.accept() => accepted,
            _ = ending.wait_for(|ending| *ending >= Ending::Deaf) => break,
        };
        match accepted {
            Ok((stream, client)) => {
                let (router, app, ending) = (router.clone(), Arc::clone(&app), ending.clone());
                connections.spawn(async move {
                    app.metrics.connection_opened();
                    let open = Open(&app);
                    connection(stream, client, router, limits, ending).await;
                    drop(open);
                    drop(place);
                });
            }
            Err(error) => {
                if last_complaint.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
                    app.log.write(Level::Error, "accept_failed", &[("error", error.to_string())]);
                    last_complaint = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

struct Open<'a>(&'a App);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.metrics.connection_closed();
    }
}

async fn connection(
    stream: Stream,
    client: Client,
    router: Router,
    limits: ConnectionLimits,
    mut ending: watch::Receiver<Ending>,
) {
    let stream = TokioIo::new(StallGuard::new(stream, limits.write_timeout));
    let router = router.layer(axum::Extension(client));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(stream, TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    // Errors of a connection (garbage, a peer that went away, a time limit) concern its peer alone.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = ending.wait_for(|ending| *ending >= Ending::Closing) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        _ = connection => {}
        _ = ending.wait_for(|ending| *ending == Ending::Cut) => {}
    }
}
