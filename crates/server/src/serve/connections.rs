//! The accept loop: bounds the number of connections, applies their time limits, and closes them on shutdown.
//!
//! The accept loop of axum has no limits on connections and on the time of headers. It also retries a failed accept at
//! once; here a failure (no file descriptors left) closes an idle connection, is retried after a pause, and is logged
//! once per second at most.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::Request;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::connection_table::{Busy, Closed, ConnectionTable, Place};
use super::http::{Connection, HostPolicy};
use super::listen::Listener;
use super::metrics::Metrics;
use super::options::ConnectionLimits;
use super::shutdown::Shutdown;
use super::write_timeout::{Stream, WriteTimeout};

const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Descriptors that a failed accept frees, and the time in which that happens. One at a time would let a backlog of
/// connections delay a probe.
const FREED_DESCRIPTORS: usize = 8;
const CLOSE_PAUSE: Duration = Duration::from_millis(1);
const ACCEPT_LOG_INTERVAL: Duration = Duration::from_secs(1);
/// Of the head of a request, and of the buffer for a part of a body. As in other servers; each connection can hold it.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// Time limit for the headers on a reserved place: a probe is sent at once.
const RESERVED_HEADER_TIME_MAX: Duration = Duration::from_secs(2);

/// What the listeners of one kind share.
#[derive(Clone)]
pub struct Endpoint {
    /// Serves the requests.
    pub router: Router,
    /// Serves the requests on reserved places.
    pub probe_router: Router,
    pub hosts: Arc<HostPolicy>,
    pub table: Arc<ConnectionTable>,
    pub metrics: Arc<Metrics>,
    pub limits: ConnectionLimits,
}

/// Serves one listener until `shutdown` reaches [`Shutdown::StopAccepting`] and all its connections have closed.
pub async fn serve(listener: Listener, endpoint: Endpoint, mut shutdown: watch::Receiver<Shutdown>) {
    let mut connections = JoinSet::new();
    let mut last_logged = None::<Instant>;
    let mut close = shutdown.clone();
    loop {
        while connections.try_join_next().is_some() {}
        // The order of the branches drains the accept backlog before the loop stops: closing the listener resets the
        // connections in the backlog. `CloseConnections` bounds the time for it.
        let accepted = tokio::select! {
            biased;
            _ = close.wait_for(|phase| *phase >= Shutdown::CloseConnections) => break,
            accepted = listener.accept() => accepted,
            _ = shutdown.wait_for(|phase| *phase >= Shutdown::StopAccepting) => break,
        };
        match accepted {
            Ok((stream, peer, local)) => {
                let Some((slot, closed)) = endpoint.table.open(peer.client()) else {
                    endpoint.metrics.connection_refused();
                    continue;
                };
                if closed == Closed::Oldest {
                    endpoint.metrics.connection_evicted();
                }
                let (endpoint, shutdown) = (endpoint.clone(), shutdown.clone());
                let connection = Connection {
                    peer,
                    local,
                    hosts: Arc::clone(&endpoint.hosts),
                    slot: Arc::new(slot),
                    lingers: Arc::default(),
                };
                connections.spawn(async move {
                    let open = OpenConnection::new(&endpoint.metrics);
                    tokio::select! {
                        biased;
                        () = connection.slot.closed() => {}
                        () = serve_connection(stream, &connection, &endpoint, shutdown) => {}
                    }
                    drop(open);
                });
            }
            Err(error) => {
                if last_logged.is_none_or(|at| at.elapsed() > ACCEPT_LOG_INTERVAL) {
                    tracing::error!(error = %error, "accept_failed");
                    last_logged = Some(Instant::now());
                }
                let closed = if is_out_of_descriptors(&error) { free_descriptors(&endpoint) } else { 0 };
                tokio::time::sleep(if closed > 0 { CLOSE_PAUSE } else { ACCEPT_PAUSE }).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Closes idle connections; returns their number.
fn free_descriptors(endpoint: &Endpoint) -> usize {
    let closed = (0..FREED_DESCRIPTORS).take_while(|_| endpoint.table.close_oldest()).count();
    (0..closed).for_each(|_| endpoint.metrics.connection_evicted());
    closed
}

fn is_out_of_descriptors(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
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

async fn serve_connection(
    stream: Stream,
    connection: &Connection,
    endpoint: &Endpoint,
    mut shutdown: watch::Receiver<Shutdown>,
) {
    let limits = endpoint.limits;
    let is_reserved = connection.slot.place() == Place::Reserved;
    let (router, header_time_max) = if is_reserved {
        (&endpoint.probe_router, limits.header_timeout.min(RESERVED_HEADER_TIME_MAX))
    } else {
        (&endpoint.router, limits.header_timeout)
    };
    let router = TowerToHyperService::new(router.clone());
    let service = service_fn(|mut request: Request<Incoming>| {
        let busy = connection.slot.request();
        request.extensions_mut().insert(connection.clone());
        let response = router.call(request);
        async { response.await.map(|response| response.map(|body| CountedRequest { body, _busy: busy })) }
    });
    let lingers = Arc::clone(&connection.lingers);
    let stream = TokioIo::new(WriteTimeout::new(stream, limits.write_timeout, lingers));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(header_time_max)
        .max_buf_size(HEADER_BYTES_MAX)
        .keep_alive(!is_reserved)
        .serve_connection(stream, service);
    let mut served = std::pin::pin!(served);
    // Errors of a connection (invalid HTTP, a disconnected peer, a time limit) concern only its peer.
    tokio::select! {
        _ = served.as_mut() => return,
        _ = shutdown.wait_for(|phase| *phase >= Shutdown::CloseConnections) => {}
    }
    served.as_mut().graceful_shutdown();
    tokio::select! {
        _ = served => {}
        _ = shutdown.wait_for(|phase| *phase == Shutdown::Abort) => {}
    }
}

/// The body of a response. Its connection is busy until the body has been sent.
struct CountedRequest {
    body: Body,
    _busy: Busy,
}

impl HttpBody for CountedRequest {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
