//! The drain of an in-process server: in-flight requests, late requests, kept connections, the deadline.

mod fake_model;
mod http_client;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fake_model::{Fake, address, serve, wait_until};
use http_client::{JSON, check_error, connect, embed, get, receive, send};
use inferd::serve::DrainOutcome;

#[test]
fn draining_finishes_inflight_requests_and_rejects_others_with_503() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    std::thread::scope(|scope| {
        let inflight = scope.spawn(move || embed(at, "{\"input\":\"a\"}").status);
        wait_until("the step runs", || model.steps.load(Ordering::SeqCst) == 1);
        let mut kept = connect(at);
        let drain = scope.spawn(move || server.drain(Duration::from_secs(20)));
        wait_until("the server is not ready", || get(at, "/readyz").status == 503);
        send(&mut kept, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
        let response = receive(&mut kept).unwrap();
        check_error(&response, 503, "draining");
        assert_eq!((response.header("connection"), get(at, "/healthz").status), (Some("close"), 200));
        model.blocked.store(false, Ordering::SeqCst);
        assert_eq!((inflight.join().unwrap(), drain.join().unwrap()), (200, DrainOutcome::Complete));
    });
    assert!(std::net::TcpStream::connect(at).is_err());
}

/// A client that keeps its connection is not notified of the drain; closing the connection while it sends would lose the
/// request.
#[test]
fn a_request_on_a_kept_connection_after_the_last_response_gets_503() {
    let server = serve(&Arc::default());
    let at = address(&server);
    let mut kept = connect(at);
    send(&mut kept, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
    assert_eq!(receive(&mut kept).unwrap().status, 200);
    let drain = std::thread::spawn(move || server.drain(Duration::from_secs(20)));
    // The listener closes after the last response; the kept connection is still open then.
    wait_until("the listener is closed", || std::net::TcpStream::connect(at).is_err());
    send(&mut kept, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
    let response = receive(&mut kept).unwrap();
    check_error(&response, 503, "draining");
    assert_eq!(
        (response.header("connection"), drain.join().unwrap()),
        (Some("close"), DrainOutcome::Complete)
    );
}

#[test]
fn a_drain_ends_at_its_deadline_and_aborts_requests_with_503() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at: SocketAddr = address(&server);
    std::thread::scope(|scope| {
        let inflight = scope.spawn(move || embed(at, "{\"input\":\"a\"}"));
        wait_until("the step runs", || model.steps.load(Ordering::SeqCst) == 1);
        let started = Instant::now();
        assert_eq!(server.drain(Duration::from_millis(200)), DrainOutcome::TimedOut { aborted: 1 });
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        check_error(&inflight.join().unwrap(), 503, "draining");
    });
}
