//! An in-process server over real sockets, with models that block, fail, panic and count.

mod fake_model;
mod http_client;

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine::{Cancel, EngineError, IdleSignal, TextCursor, Token};
use fake_model::{Fake, address, loader, options, serve, wait_until};
use http_client::{JSON, check_error, connect, embed, embed_within, get, post, receive, request, send};
use inferd::serve::{Loader, Model, Server, Shape};

#[test]
fn every_error_has_the_envelope_of_the_api() {
    let server = serve(&Arc::default());
    let at = address(&server);
    check_error(&get(at, "/v1/nothing"), 404, "unknown_url");
    let response = request(at, "DELETE", "/v1/models", "", b"");
    check_error(&response, 405, "method_not_allowed");
    assert!(response.header("allow").unwrap().contains("GET"));
    check_error(&get(at, "/v1/embeddings"), 405, "method_not_allowed");
    check_error(
        &request(at, "POST", "/v1/embeddings", "content-type: text/plain\r\n", b"{}"),
        415,
        "unsupported_media_type",
    );
    check_error(&request(at, "POST", "/v1/embeddings", JSON, &vec![b' '; 70_000]), 413, "body_too_large");
    for body in
        ["", "{", "[]", "{\"model\":\"m\"}", "{\"input\":1}", "{\"input\":\"a\",\"inptu\":1}", "\u{feff}{}"]
    {
        check_error(&embed(at, body), 400, "invalid_json");
    }
    check_error(&request(at, "POST", "/v1/embeddings", JSON, b"{\"input\":\"\xff\"}"), 400, "invalid_json");
    check_error(&embed(at, &("[".repeat(30_000))), 400, "invalid_json");
    check_error(&embed(at, &format!("{{\"input\":{}", "[".repeat(30_000))), 400, "invalid_json");
    for body in [
        "{\"input\":[]}",
        "{\"input\":[[]]}",
        "{\"input\":[1000]}",
        "{\"input\":\"a\",\"dimensions\":0}",
        "{\"input\":\"a\",\"dimensions\":5}",
    ] {
        check_error(&embed(at, body), 400, "invalid_value");
    }
    check_error(&embed(at, &format!("{{\"input\":{:?}}}", vec!["a"; 101])), 400, "invalid_value");
    check_error(&embed(at, &format!("{{\"input\":{:?}}}", vec![vec![1; 60]; 100])), 400, "invalid_value");
    check_error(&embed(at, "{\"model\":\"n\",\"input\":\"a\"}"), 404, "model_not_found");
    check_error(&get(at, "/v1/models/n"), 404, "model_not_found");
    let headers = format!("{JSON}x-request-timeout-ms: soon\r\n");
    check_error(&request(at, "POST", "/v1/embeddings", &headers, b"{\"input\":\"a\"}"), 400, "invalid_value");
    assert_eq!(server.inflight_requests(), 0);
}

#[test]
fn accepts_every_kind_of_input_and_both_encodings() {
    let server = serve(&Arc::default());
    let at = address(&server);
    let json = embed(at, "{\"input\":[\"a b c\",\"d\"],\"user\":\"u\"}").json();
    assert_eq!(json["data"][0]["embedding"][0], 3.0);
    assert_eq!((&json["data"][1]["embedding"][0], &json["data"][1]["index"]), (&1.0.into(), &1.into()));
    assert_eq!((&json["usage"]["total_tokens"], &json["model"]), (&4.into(), &"m".into()));
    assert_eq!(embed(at, "{\"input\":[5,6]}").json()["data"][0]["embedding"][0], 2.0);
    assert_eq!(embed(at, "{\"input\":[[5],[6,7]]}").json()["data"][1]["embedding"][0], 2.0);
    let json = embed(at, "{\"input\":\"a\",\"encoding_format\":\"base64\"}").json();
    // 1.0, 1.0, 0.0, 1.0, little-endian.
    assert_eq!(json["data"][0]["embedding"], "AACAPwAAgD8AAAAAAACAPw==");
    let json = embed(at, "{\"input\":\"a\",\"dimensions\":2}").json();
    assert_eq!(json["data"][0]["embedding"].as_array().unwrap().len(), 2);
    let response = request(at, "GET", "/v1/models/m", "x-request-id: mine-1\r\n", b"");
    assert_eq!(
        (response.header("x-request-id"), response.json()["id"].as_str()),
        (Some("mine-1"), Some("m"))
    );
}

/// Starts a slow forward pass, a writer that replaces the model, and readers, and waits for writer and readers while
/// the pass still runs. Returns the number of readers that finished and whether the writer finished. A blocked run is
/// recognized by `TIME_MAX`.
fn run_readers_and_writer(
    model: &Fake,
    time_max: Duration,
    slow: impl Fn() + Send + Sync,
    write: impl Fn(&AtomicBool) + Send + Sync,
    read: impl Fn(usize) + Send + Sync,
) -> (usize, bool) {
    const READERS: usize = 20;
    let (finished, writing, written) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(&slow);
        wait_until("the slow pass runs", || model.steps.load(Ordering::SeqCst) == 1);
        scope.spawn(|| {
            write(&writing);
            written.store(true, Ordering::SeqCst);
        });
        wait_until("the writer has begun", || writing.load(Ordering::SeqCst));
        for n in 0..READERS {
            let (read, finished) = (&read, &finished);
            scope.spawn(move || {
                read(n);
                finished.fetch_add(1, Ordering::SeqCst);
            });
        }
        let result = || (finished.load(Ordering::SeqCst), written.load(Ordering::SeqCst));
        let started = Instant::now();
        while result() != (READERS, true) && started.elapsed() < time_max {
            std::thread::sleep(Duration::from_millis(2));
        }
        let result = result();
        model.blocked.store(false, Ordering::SeqCst);
        result
    })
}

#[test]
fn a_reload_during_a_slow_pass_blocks_no_reader() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    let found = run_readers_and_writer(
        &model,
        Duration::from_secs(20),
        || assert_eq!(embed(at, "{\"input\":\"slow\"}").status, 200),
        |writing| {
            writing.store(true, Ordering::SeqCst);
            server.reload().unwrap();
        },
        |n| assert_eq!(get(at, ["/v1/models", "/readyz", "/healthz", "/metrics"][n % 4]).status, 200),
    );
    assert_eq!(found, (20, true));
}

/// Counter-test of the test above: with a lock held across the pass, a waiting writer blocks all readers.
#[test]
fn a_lock_held_across_the_pass_blocks_writer_and_readers() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let current = std::sync::RwLock::new(Arc::clone(&model));
    let found = run_readers_and_writer(
        &model,
        Duration::from_secs(1),
        || {
            let model = current.read().unwrap();
            model.step(&[vec![1]], &Cancel::default(), &IdleSignal::default()).unwrap();
        },
        |writing| {
            std::thread::scope(|scope| {
                scope.spawn(|| *current.write().unwrap() = Arc::default());
                // A waiting writer makes further reads fail.
                wait_until("the writer waits", || current.try_read().is_err());
                writing.store(true, Ordering::SeqCst);
            });
        },
        |_| drop(current.read().unwrap()),
    );
    assert_eq!(found, (0, false));
}

#[test]
fn a_permit_is_held_until_its_work_has_stopped() {
    // A step that does not check the flag: a long layer.
    struct Uncancellable(AtomicBool);
    impl Model for Uncancellable {
        fn shape(&self) -> Shape {
            Shape { dimension: 1, tokens_max: 8, vocabulary: 9 }
        }
        fn next_ids(&self, _: &str, cursor: &mut TextCursor, ids: &mut Vec<u32>) -> Result<(), EngineError> {
            ids.push(1);
            cursor.finish();
            Ok(())
        }
        fn next_tokens(
            &self,
            _: &str,
            _: bool,
            cursor: &mut TextCursor,
            _: &mut Vec<Token>,
        ) -> Result<(), EngineError> {
            cursor.finish();
            Ok(())
        }
        fn token_name(&self, _: u32) -> Option<String> {
            None
        }
        fn step(&self, _: &[Vec<u32>], _: &Cancel, _: &IdleSignal) -> Result<Vec<Vec<f32>>, EngineError> {
            while !self.0.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(EngineError::Cancelled)
        }
    }
    let model = Arc::new(Uncancellable(false.into()));
    let shared = Arc::clone(&model);
    let loader: Loader = Arc::new(move |_: &str, _: &Path| Ok(Arc::clone(&shared) as Arc<dyn Model>));
    let server = Server::open_with(options(), loader).unwrap();
    assert_eq!(embed_within(address(&server), 30, "{\"input\":\"a\"}").status, 504);
    // The response has been received, and the step still runs.
    assert_eq!(server.inflight_requests(), 1);
    model.0.store(true, Ordering::SeqCst);
    wait_until("the permit is released", || server.inflight_requests() == 0);
}

#[test]
fn a_client_that_disconnects_cancels_its_work() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let mut stream = connect(address(&server));
    send(&mut stream, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
    wait_until("the step runs", || model.steps.load(Ordering::SeqCst) == 1);
    drop(stream);
    wait_until("the step is cancelled", || model.cancelled_steps.load(Ordering::SeqCst) == 1);
    wait_until("the permit is released", || server.inflight_requests() == 0);
}

#[test]
fn requests_above_the_limit_get_429_with_retry_after() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let mut options = options();
    options.admission.requests_max = 4;
    let server = Server::open_with(options, loader(&model)).unwrap();
    let at = address(&server);
    std::thread::scope(|scope| {
        // One client can hold three of four permits.
        let held: Vec<_> =
            (0..3).map(|_| scope.spawn(move || embed(at, "{\"input\":\"a\"}").status)).collect();
        wait_until("three requests are in flight", || server.inflight_requests() == 3);
        let response = embed(at, "{\"input\":\"a\"}");
        check_error(&response, 429, "queue_full");
        assert!(response.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(get(at, "/readyz").status, 200);
        // A rejected client can retry on the same connection.
        let mut kept = connect(at);
        for _ in 0..2 {
            send(&mut kept, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
            let response = receive(&mut kept).unwrap();
            assert_eq!((response.status, response.header("connection")), (429, None));
        }
        model.blocked.store(false, Ordering::SeqCst);
        held.into_iter().for_each(|request| assert_eq!(request.join().unwrap(), 200));
    });
}

#[test]
fn a_request_that_waits_longer_than_the_queue_timeout_gets_429_and_one_that_has_begun_does_not() {
    let model = Arc::new(Fake { blocked: true.into(), one_step_at_a_time: true, ..Fake::default() });
    let mut options = options();
    options.batches.queue_timeout = Some(Duration::from_millis(50));
    let server = Server::open_with(options, loader(&model)).unwrap();
    let at = address(&server);
    std::thread::scope(|scope| {
        let begun = scope.spawn(move || embed(at, "{\"input\":\"a\"}").status);
        wait_until("the first request is in a step", || model.steps.load(Ordering::SeqCst) == 1);
        for (path, body) in [("/v1/embeddings", "{\"input\":\"b\"}"), ("/tokenize", "{\"inputs\":\"b\"}")] {
            let response = post(at, path, body);
            check_error(&response, 429, "queue_timeout");
            assert_eq!(response.header("retry-after"), Some("1"), "{path}");
        }
        wait_until("only the first request holds a permit", || server.inflight_requests() == 1);
        model.blocked.store(false, Ordering::SeqCst);
        assert_eq!(begun.join().unwrap(), 200);
    });
    assert_eq!(model.cancelled_steps.load(Ordering::SeqCst), 0);
    assert_eq!(embed(at, "{\"input\":\"a\"}").status, 200);
}

/// Closing a connection with unread bytes resets it; a client that still writes would not receive the response.
#[test]
fn a_client_that_sends_a_too_large_body_receives_the_response() {
    let server = serve(&Arc::default());
    let body = vec![b' '; 8 << 20];
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let announced = format!("content-length: {}", body.len());
    for (length, body) in [(announced.as_str(), &body), ("transfer-encoding: chunked", &chunked)] {
        let mut stream = connect(address(&server));
        let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n{JSON}{length}\r\n\r\n");
        for part in [head.as_bytes(), body] {
            stream.write_all(part).expect("the server reads all of it");
        }
        let response = receive(&mut stream).unwrap();
        check_error(&response, 413, "body_too_large");
        assert_eq!(response.header("connection"), None);
        send(&mut stream, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
        assert_eq!(receive(&mut stream).unwrap().status, 200);
    }
    // curl waits for `100 Continue` and sends no body.
    let mut stream = connect(address(&server));
    let head =
        format!("POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 8388608\r\n");
    stream.write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    let response = receive(&mut stream).unwrap();
    check_error(&response, 413, "body_too_large");
    assert_eq!(response.header("connection"), Some("close"));
}

/// A batch that is formed too early is small, and later requests wait behind it.
#[test]
fn the_next_batch_is_formed_when_a_worker_is_idle() {
    let model = Arc::new(Fake { one_step_at_a_time: true, blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    std::thread::scope(|scope| {
        let start = || scope.spawn(move || embed(at, "{\"input\":\"a\"}").status);
        let first = start();
        wait_until("the first step runs", || model.steps.load(Ordering::SeqCst) == 1);
        let later: Vec<_> = (0..8).map(|_| start()).collect();
        wait_until("all requests are in flight", || server.inflight_requests() == 9);
        // All texts are tokenized, so a batch of them could be formed. The number of queued requests does not show that.
        wait_until("all texts are tokenized", || server.queued_tokens() == 8);
        assert_eq!(model.steps.load(Ordering::SeqCst), 1);
        model.blocked.store(false, Ordering::SeqCst);
        later.into_iter().chain([first]).for_each(|request| assert_eq!(request.join().unwrap(), 200));
    });
    assert_eq!(*model.batches.lock().unwrap(), [vec![1], vec![1; 8]]);
}

#[test]
fn waiting_requests_share_a_batch_within_its_token_limit() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    std::thread::scope(|scope| {
        let blockers: Vec<_> = (0..2)
            .map(|n| {
                let blocker = scope.spawn(move || embed(at, "{\"input\":\"b\"}").status);
                wait_until("a blocker runs", || model.steps.load(Ordering::SeqCst) == n + 1);
                blocker
            })
            .collect();
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(move || embed(at, "{\"input\":\"x y\"}"))).collect();
        wait_until("ten requests are in flight", || server.inflight_requests() == 10);
        model.blocked.store(false, Ordering::SeqCst);
        blockers.into_iter().for_each(|request| assert_eq!(request.join().unwrap(), 200));
        waiting.into_iter().for_each(|request| assert_eq!(request.join().unwrap().status, 200));
    });
    let batches = model.batches.lock().unwrap();
    assert!(batches.iter().any(|batch| batch.len() >= 4), "{batches:?}");
    assert!(batches.iter().all(|batch| batch.iter().sum::<usize>() <= 64), "{batches:?}");
}

#[test]
fn only_the_request_that_causes_a_panic_fails() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    std::thread::scope(|scope| {
        let blockers: Vec<_> = (0..2)
            .map(|n| {
                let blocker = scope.spawn(move || embed(at, "{\"input\":\"b\"}").status);
                wait_until("a blocker runs", || model.steps.load(Ordering::SeqCst) == n + 1);
                blocker
            })
            .collect();
        let bad = scope.spawn(move || embed(at, "{\"input\":[\"a\",\"panic\"]}"));
        let good = scope.spawn(move || embed(at, "{\"input\":\"a\"}"));
        wait_until("four requests are in flight", || server.inflight_requests() == 4);
        model.blocked.store(false, Ordering::SeqCst);
        blockers.into_iter().for_each(|request| assert_eq!(request.join().unwrap(), 200));
        check_error(&bad.join().unwrap(), 500, "internal_error");
        assert_eq!(good.join().unwrap().status, 200);
    });
    assert_eq!(embed(at, "{\"input\":\"a\"}").status, 200);
    wait_until("all permits are released", || server.inflight_requests() == 0);
}

#[test]
fn concurrent_first_requests_load_once_and_a_failed_load_is_repeated() {
    let loads = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(AtomicBool::new(false));
    let (counter, released, model) = (Arc::clone(&loads), Arc::clone(&release), Arc::new(Fake::default()));
    let error = |message: &str| diag::Diagnostic::new(&diag::UNCLASSIFIED, message);
    let loader: Loader = Arc::new(move |_: &str, _: &Path| {
        match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Err(error("the disk is gone")),
            1 => panic!("an intended panic"),
            _ => {
                // Requests wait for the load.
                while !released.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(Arc::clone(&model) as Arc<dyn Model>)
            }
        }
    });
    let server = Server::open_with(options(), loader).unwrap();
    let at = address(&server);
    let response = embed(at, "{\"input\":\"a\"}");
    check_error(&response, 503, "model_not_loaded");
    assert!(response.text().contains("the disk is gone") && response.header("retry-after").is_some());
    check_error(&embed(at, "{\"input\":\"a\"}"), 503, "model_not_loaded");
    std::thread::scope(|scope| {
        let callers: Vec<_> =
            (0..20).map(|_| scope.spawn(move || embed(at, "{\"input\":\"a\"}").status)).collect();
        wait_until("all requests wait for the load", || server.inflight_requests() == 20);
        release.store(true, Ordering::SeqCst);
        callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap(), 200));
    });
    assert_eq!(loads.load(Ordering::SeqCst), 3);
}

#[test]
fn slow_clients_are_disconnected_and_block_no_other_client() {
    let server = serve(&Arc::default());
    let at = address(&server);
    let mut silent = connect(at);
    let mut slow_head = connect(at);
    slow_head.write_all(b"POST /v1/embeddings HTTP/1.1\r\nhost:").unwrap();
    let mut slow_body = connect(at);
    let head =
        format!("POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 99\r\n\r\n{{");
    slow_body.write_all(head.as_bytes()).unwrap();
    let mut garbage = connect(at);
    garbage.write_all(b"\x16\x03\x01\x02\x00 not http\r\n\r\n").unwrap();
    assert_eq!(embed(at, "{\"input\":\"a\"}").status, 200);

    check_error(&receive(&mut slow_body).unwrap(), 408, "body_timeout");
    let mut rest = Vec::new();
    let _ = garbage.read_to_end(&mut rest);
    assert!(rest.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&rest));
    for stream in [&mut silent, &mut slow_head] {
        let mut rest = Vec::new();
        // Closed, with or without a status 408.
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(server.inflight_requests(), 0);
}
