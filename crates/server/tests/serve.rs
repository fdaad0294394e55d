//! The server inside the test's own process, asked over real sockets, with models that do what a test needs: block, fail,
//! panic, count.

mod fake_model;
mod http_client;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine::{Cancel, EngineError, IdleSignal, TokenWithOffsets};
use fake_model::{Fake, address, loader, options, serve, wait_until};
use http_client::{JSON, check_error, connect, embed, embed_within, get, receive, request, send};
use inferd::serve::{Drained, Loader, Model, Server, Shape};

#[test]
fn every_error_has_the_envelope() {
    let server = serve(&Arc::default());
    let at = address(&server);
    check_error(&get(at, "/v1/nothing"), 404, "unknown_url");
    let answer = request(at, "DELETE", "/v1/models", "", b"");
    check_error(&answer, 405, "method_not_allowed");
    assert!(answer.header("allow").unwrap().contains("GET"));
    check_error(&get(at, "/v1/embeddings"), 405, "method_not_allowed");
    check_error(
        &request(at, "POST", "/v1/embeddings", "content-type: text/plain\r\n", b"{}"),
        415,
        "unsupported_media_type",
    );
    check_error(&request(at, "POST", "/v1/embeddings", JSON, &[b' '; 70_000]), 413, "body_too_large");
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
    assert_eq!(server.requests_held(), 0);
}

#[test]
fn inputs_of_every_kind_and_both_encodings() {
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
    let answer = request(at, "GET", "/v1/models/m", "x-request-id: mine-1\r\n", b"");
    assert_eq!((answer.header("x-request-id"), answer.json()["id"].as_str()), (Some("mine-1"), Some("m")));
}

/// A slow forward pass, a writer that wants to replace the model, and readers, while the pass still runs. Says how many of
/// the readers were answered and whether the writer was done before the pass was allowed to end.
fn incident(
    model: &Fake,
    slow: impl Fn() + Send + Sync,
    write: impl Fn() + Send + Sync,
    read: impl Fn(usize) + Send + Sync,
) -> (usize, bool) {
    const READERS: usize = 20;
    let (answered, written) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(&slow);
        wait_until("the slow pass runs", || model.steps.load(Ordering::SeqCst) == 1);
        scope.spawn(|| {
            write();
            written.store(true, Ordering::SeqCst);
        });
        // The writer is in the queue before the first reader comes.
        std::thread::sleep(Duration::from_millis(50));
        for n in 0..READERS {
            let (read, answered) = (&read, &answered);
            scope.spawn(move || {
                read(n);
                answered.fetch_add(1, Ordering::SeqCst);
            });
        }
        let done = || (answered.load(Ordering::SeqCst), written.load(Ordering::SeqCst));
        let started = Instant::now();
        while done() != (READERS, true) && started.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(2));
        }
        let done = done();
        model.blocked.store(false, Ordering::SeqCst);
        done
    })
}

#[test]
fn a_writer_behind_a_slow_pass_blocks_no_reader() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    let found = incident(
        &model,
        || assert_eq!(embed(at, "{\"input\":\"slow\"}").status, 200),
        || server.reload_now().unwrap(),
        |n| assert_eq!(get(at, ["/v1/models", "/readyz", "/healthz", "/metrics"][n % 4]).status, 200),
    );
    assert_eq!(found, (20, true));
}

/// The test of the test: what the comparable server did. A lock held across the pass lets the queued writer block everyone.
#[test]
fn a_lock_held_across_the_pass_is_what_the_incident_was() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let current = std::sync::RwLock::new(Arc::clone(&model));
    let found = incident(
        &model,
        || {
            let model = current.read().unwrap();
            model.step(&[vec![1]], &Cancel::default(), &IdleSignal::default()).unwrap();
        },
        || *current.write().unwrap() = Arc::default(),
        |_| drop(current.read().unwrap()),
    );
    assert_eq!(found, (0, false));
}

#[test]
fn a_permit_is_held_until_the_work_has_really_stopped() {
    // A layer that takes long: the flag is looked at only between layers.
    struct Stubborn(AtomicBool);
    impl Model for Stubborn {
        fn shape(&self) -> Shape {
            Shape { dimension: 1, tokens_max: 8, vocabulary: 9 }
        }
        fn tokenize(&self, texts: &[String], _: &Cancel) -> Result<Vec<Vec<u32>>, EngineError> {
            Ok(vec![vec![1]; texts.len()])
        }
        fn pieces(
            &self,
            _: &[String],
            _: bool,
            _: &Cancel,
        ) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError> {
            Ok(Vec::new())
        }
        fn step(&self, _: &[Vec<u32>], _: &Cancel, _: &IdleSignal) -> Result<Vec<Vec<f32>>, EngineError> {
            while !self.0.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(EngineError::Cancelled)
        }
    }
    let model = Arc::new(Stubborn(false.into()));
    let shared = Arc::clone(&model);
    let loader: Loader = Arc::new(move |_: &str, _: &Path| Ok(Arc::clone(&shared) as Arc<dyn Model>));
    let server = Server::open_with(options(), loader).unwrap();
    assert_eq!(embed_within(address(&server), 30, "{\"input\":\"a\"}").status, 504);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(server.requests_held(), 1);
    model.0.store(true, Ordering::SeqCst);
    wait_until("the permit is back", || server.requests_held() == 0);
}

#[test]
fn a_client_that_goes_away_stops_its_work() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let mut stream = connect(address(&server));
    send(&mut stream, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
    wait_until("the step runs", || model.steps.load(Ordering::SeqCst) == 1);
    drop(stream);
    wait_until("the step is cancelled", || model.stopped.load(Ordering::SeqCst) == 1);
    wait_until("the permit is back", || server.requests_held() == 0);
}

#[test]
fn a_full_queue_says_429_and_when_to_come_back() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let mut options = options();
    options.admission.requests_max = 4;
    let server = Server::open_with(options, loader(&model)).unwrap();
    let at = address(&server);
    std::thread::scope(|scope| {
        // One client may hold three of four.
        let held: Vec<_> =
            (0..3).map(|_| scope.spawn(move || embed(at, "{\"input\":\"a\"}").status)).collect();
        wait_until("three are held", || server.requests_held() == 3);
        let answer = embed(at, "{\"input\":\"a\"}");
        check_error(&answer, 429, "queue_full");
        assert!(answer.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        assert_eq!(get(at, "/readyz").status, 200);
        // Who is refused asks again on the connection that he has.
        let mut kept = connect(at);
        for _ in 0..2 {
            send(&mut kept, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
            let answer = receive(&mut kept).unwrap();
            assert_eq!((answer.status, answer.header("connection")), (429, None));
        }
        model.blocked.store(false, Ordering::SeqCst);
        held.into_iter().for_each(|request| assert_eq!(request.join().unwrap(), 200));
    });
}

/// Closing with unread bytes is a reset: the client that is still writing would see it instead of the answer.
#[test]
fn a_body_that_is_too_large_is_answered_to_a_client_that_sends_all_of_it() {
    let server = serve(&Arc::default());
    let body = vec![b' '; 8 << 20];
    let chunked = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
    let announced = format!("content-length: {}", body.len());
    for (length, body) in [(announced.as_str(), &body), ("transfer-encoding: chunked", &chunked)] {
        let mut stream = connect(address(&server));
        let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: test\r\n{JSON}{length}\r\n\r\n");
        for part in [head.as_bytes(), body] {
            stream.write_all(part).expect("the server takes all of it");
        }
        let answer = receive(&mut stream).unwrap();
        check_error(&answer, 413, "body_too_large");
        assert_eq!(answer.header("connection"), None);
        send(&mut stream, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
        assert_eq!(receive(&mut stream).unwrap().status, 200);
    }
    // Curl asks first, and then sends nothing.
    let mut stream = connect(address(&server));
    let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: test\r\n{JSON}content-length: 8388608\r\n");
    stream.write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
    let answer = receive(&mut stream).unwrap();
    check_error(&answer, 413, "body_too_large");
    assert_eq!(answer.header("connection"), Some("close"));
}

/// A batch that is formed while there is no room for it holds fewer than it could, and later ones wait behind it.
#[test]
fn the_next_batch_is_formed_when_there_is_room_for_it() {
    let model = Arc::new(Fake { narrow: true, blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    std::thread::scope(|scope| {
        let ask = || scope.spawn(move || embed(at, "{\"input\":\"a\"}").status);
        let first = ask();
        wait_until("the first step runs", || model.steps.load(Ordering::SeqCst) == 1);
        let later: Vec<_> = (0..8).map(|_| ask()).collect();
        wait_until("all are held", || server.requests_held() == 9);
        // Time enough to form a batch of the first that came.
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(model.steps.load(Ordering::SeqCst), 1);
        model.blocked.store(false, Ordering::SeqCst);
        later.into_iter().chain([first]).for_each(|request| assert_eq!(request.join().unwrap(), 200));
    });
    assert_eq!(*model.batches.lock().unwrap(), [vec![1], vec![1; 8]]);
}

#[test]
fn waiting_requests_share_a_batch_and_a_large_one_does_not_hold_up_a_small_one() {
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
        wait_until("ten are held", || server.requests_held() == 10);
        model.blocked.store(false, Ordering::SeqCst);
        blockers.into_iter().for_each(|request| assert_eq!(request.join().unwrap(), 200));
        waiting.into_iter().for_each(|request| assert_eq!(request.join().unwrap().status, 200));
    });
    let batches = model.batches.lock().unwrap();
    assert!(batches.iter().any(|batch| batch.len() >= 4), "{batches:?}");
    assert!(batches.iter().all(|batch| batch.iter().sum::<usize>() <= 64), "{batches:?}");
}

#[test]
fn a_request_that_panics_fails_alone() {
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
        wait_until("four are held", || server.requests_held() == 4);
        model.blocked.store(false, Ordering::SeqCst);
        blockers.into_iter().for_each(|request| assert_eq!(request.join().unwrap(), 200));
        check_error(&bad.join().unwrap(), 500, "internal_error");
        assert_eq!(good.join().unwrap().status, 200);
    });
    assert_eq!(embed(at, "{\"input\":\"a\"}").status, 200);
    wait_until("permits are back", || server.requests_held() == 0);
}

#[test]
fn racing_first_callers_load_once_and_a_failed_load_can_be_tried_again() {
    let loads = Arc::new(AtomicUsize::new(0));
    let (counter, model) = (Arc::clone(&loads), Arc::new(Fake::default()));
    let loader: Loader = Arc::new(move |_: &str, _: &Path| {
        std::thread::sleep(Duration::from_millis(50));
        match counter.fetch_add(1, Ordering::SeqCst) {
            0 => Err("the disk is gone".into()),
            1 => panic!("a panic that a test wants"),
            _ => Ok(Arc::clone(&model) as Arc<dyn Model>),
        }
    });
    let server = Server::open_with(options(), loader).unwrap();
    let at = address(&server);
    let answer = embed(at, "{\"input\":\"a\"}");
    check_error(&answer, 503, "model_not_loaded");
    assert!(answer.text().contains("the disk is gone") && answer.header("retry-after").is_some());
    check_error(&embed(at, "{\"input\":\"a\"}"), 503, "model_not_loaded");
    std::thread::scope(|scope| {
        let callers: Vec<_> =
            (0..20).map(|_| scope.spawn(move || embed(at, "{\"input\":\"a\"}").status)).collect();
        callers.into_iter().for_each(|caller| assert_eq!(caller.join().unwrap(), 200));
    });
    assert_eq!(loads.load(Ordering::SeqCst), 3);
}

#[test]
fn slow_clients_are_cut_off_and_hold_up_nobody() {
    let server = serve(&Arc::default());
    let at = address(&server);
    let mut silent = connect(at);
    let mut slow_head = connect(at);
    slow_head.write_all(b"POST /v1/embeddings HTTP/1.1\r\nhost:").unwrap();
    let mut slow_body = connect(at);
    let head = format!("POST /v1/embeddings HTTP/1.1\r\nhost: t\r\n{JSON}content-length: 99\r\n\r\n{{");
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
        // Closed, with or without a 408, but not left open.
        let _ = stream.read_to_end(&mut rest);
    }
    assert_eq!(server.requests_held(), 0);
}

#[test]
fn draining_answers_those_inside_and_tells_503_to_others() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at = address(&server);
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || embed(at, "{\"input\":\"a\"}").status);
        wait_until("the step runs", || model.steps.load(Ordering::SeqCst) == 1);
        let mut kept = connect(at);
        let drain = scope.spawn(move || server.drain(Duration::from_secs(20)));
        wait_until("it is not ready", || get(at, "/readyz").status == 503);
        send(&mut kept, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
        let answer = receive(&mut kept).unwrap();
        check_error(&answer, 503, "draining");
        assert_eq!((answer.header("connection"), get(at, "/healthz").status), (Some("close"), 200));
        model.blocked.store(false, Ordering::SeqCst);
        assert_eq!((inside.join().unwrap(), drain.join().unwrap()), (200, Drained::Clean));
    });
    assert!(std::net::TcpStream::connect(at).is_err());
}

/// A client that keeps its connection cannot know that the server is going; cut off while it sends, it would lose the request.
#[test]
fn who_asks_on_a_kept_connection_after_the_last_answer_is_told_503() {
    let server = serve(&Arc::default());
    let mut kept = connect(address(&server));
    send(&mut kept, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
    assert_eq!(receive(&mut kept).unwrap().status, 200);
    let drain = std::thread::spawn(move || server.drain(Duration::from_secs(20)));
    // Nothing is left to answer by now.
    std::thread::sleep(Duration::from_millis(300));
    send(&mut kept, "POST", "/v1/embeddings", JSON, b"{\"input\":\"a\"}");
    let answer = receive(&mut kept).unwrap();
    check_error(&answer, 503, "draining");
    assert_eq!((answer.header("connection"), drain.join().unwrap()), (Some("close"), Drained::Clean));
}

#[test]
fn a_drain_ends_at_its_deadline_and_says_503_to_what_it_cuts() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = serve(&model);
    let at: SocketAddr = address(&server);
    std::thread::scope(|scope| {
        let inside = scope.spawn(move || embed(at, "{\"input\":\"a\"}"));
        wait_until("the step runs", || model.steps.load(Ordering::SeqCst) == 1);
        let started = Instant::now();
        assert_eq!(server.drain(Duration::from_millis(200)), Drained::Cut { requests: 1 });
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        check_error(&inside.join().unwrap(), 503, "draining");
    });
}
