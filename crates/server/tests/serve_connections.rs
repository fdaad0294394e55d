//! Connections and bodies: what one client holds, and what others get beside it.

mod fake_model;
mod http_client;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fake_model::{Fake, address, loader, options, wait_until};
use http_client::{JSON, Response, check_error, connect, embed, get, receive, request, send};
use inferd::serve::{DrainOutcome, Listen, Options, Server};

const EMBED: &[u8] = b"{\"input\":\"a\"}";

/// Options of a server that takes the clients of loopback from `X-Forwarded-For`: a test can be several clients.
fn behind_a_proxy() -> Options {
    let mut options = options();
    options.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    options
}

fn open(options: Options) -> Server {
    Server::open_with(options, loader(&Arc::default())).unwrap()
}

fn embed_as(at: SocketAddr, client: &str) -> Response {
    request(at, "POST", "/v1/embeddings", &format!("{JSON}x-forwarded-for: {client}\r\n"), EMBED)
}

fn metric(at: SocketAddr, name: &str) -> u64 {
    let page = get(at, "/metrics").text();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("`{name}` is missing in:\n{page}")).parse().unwrap()
}

/// Sends the head of a request and the begin of its body.
fn begin(at: SocketAddr, client: &str, length: &str, body: &[u8]) -> TcpStream {
    let mut stream = connect(at);
    let head = format!(
        "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\nx-forwarded-for: {client}\r\n{JSON}{length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
    stream
}

#[test]
fn an_announced_body_holds_no_bytes() {
    let mut options = behind_a_proxy();
    options.requests.body_timeout = Duration::from_secs(20);
    let server = open(options);
    let at = address(&server);
    // All of them together announce more than the limit of all bytes.
    let announced: Vec<_> = (0..40).map(|_| begin(at, "192.0.2.1", "content-length: 65536", b"")).collect();
    wait_until("all requests are admitted", || server.inflight_requests() == 40);
    assert_eq!(metric(at, "inferd_inflight_bytes"), 0);
    for client in ["192.0.2.1", "192.0.2.2"] {
        assert_eq!(embed_as(at, client).status, 200);
    }
    drop(announced);
    wait_until("all permits are released", || server.inflight_requests() == 0);
}

#[test]
fn bodies_that_arrive_leave_a_share_for_other_clients() {
    for length in ["content-length: 65536", "transfer-encoding: chunked"] {
        let mut options = behind_a_proxy();
        options.requests.body_timeout = Duration::from_secs(20);
        let server = open(options);
        let at = address(&server);
        let mut part = vec![b' '; 40_000];
        if length.starts_with("transfer") {
            part = [format!("{:x}\r\n", part.len()).as_bytes(), &part, b"\r\n"].concat();
        }
        // One client sends parts of bodies until it is rejected.
        let held: Vec<_> = (0..30).map(|_| begin(at, "192.0.2.1", length, &part)).collect();
        wait_until("the share of the client is used up", || {
            get(at, "/metrics").text().contains("route=\"/v1/embeddings\",status=\"429\"")
        });
        let bytes = metric(at, "inferd_inflight_bytes");
        assert!((200_000..=786_432).contains(&bytes), "{bytes} bytes, more than 3/4 of 1 MiB");
        let padded = format!("{{\"input\":\"a\"{}}}", " ".repeat(40_000));
        let headers = format!("{JSON}x-forwarded-for: 192.0.2.2\r\n");
        assert_eq!(request(at, "POST", "/v1/embeddings", &headers, padded.as_bytes()).status, 200);
        drop(held);
        wait_until("all permits are released", || server.inflight_requests() == 0);
        assert_eq!(metric(at, "inferd_inflight_bytes"), 0);
    }
}

/// Requests that are rejected with their body on the way: status, code, path, headers.
fn rejections() -> [(u16, &'static str, &'static str, String); 4] {
    let key = "authorization: Bearer 0123456789abcdef\r\n";
    [
        (401, "missing_api_key", "/v1/embeddings", JSON.to_owned()),
        (404, "unknown_url", "/v1/nothing", format!("{JSON}{key}")),
        (413, "body_too_large", "/v1/embeddings", format!("{JSON}{key}")),
        (415, "unsupported_media_type", "/v1/embeddings", key.to_owned()),
    ]
}

fn with_a_key() -> Server {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    std::fs::write(&file, "team 0123456789abcdef\n").unwrap();
    let mut options = options();
    options.api_keys = Some(file);
    // The file is read at the start.
    open(options)
}

#[test]
fn a_fast_sender_of_a_rejected_body_gets_the_response_and_keeps_its_connection() {
    let server = with_a_key();
    for (status, code, path, headers) in rejections() {
        let mut stream = connect(address(&server));
        for _ in 0..2 {
            send(&mut stream, "POST", path, &headers, &vec![b' '; 4 << 20]);
            let response = receive(&mut stream).unwrap();
            check_error(&response, status, code);
            assert_eq!(response.header("connection"), None, "{code}");
        }
    }
}

#[test]
fn a_slow_sender_of_a_rejected_body_gets_the_response_and_the_server_stops_reading() {
    let server = with_a_key();
    for (status, code, path, headers) in rejections() {
        let mut stream = connect(address(&server));
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: 8000000\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut sender = stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            // At this rate the body would take 800 s.
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(20) && sender.write_all(&[b' '; 1000]).is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
            started.elapsed()
        });
        let response = receive(&mut stream).unwrap();
        check_error(&response, status, code);
        assert_eq!(response.header("connection"), Some("close"), "{code}");
        // The response ends with the connection, not with a reset.
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap(), 0);
        assert!(sending.join().unwrap() < Duration::from_secs(20), "the server reads on");
    }
}

#[test]
fn idle_connections_make_room_for_new_ones() {
    let mut options = options();
    options.connections.connections_max = 16;
    options.connections.header_timeout = Duration::from_mins(1);
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = Server::open_with(options, loader(&model)).unwrap();
    let at = address(&server);
    let mut busy = connect(at);
    send(&mut busy, "POST", "/v1/embeddings", JSON, EMBED);
    wait_until("the step runs", || model.steps.load(Ordering::SeqCst) == 1);
    for begin in ["", "GET / HTTP/1.1\r\nhost: local"] {
        let idle: Vec<_> = (0..100)
            .map(|_| {
                let mut stream = connect(at);
                stream.write_all(begin.as_bytes()).unwrap();
                stream
            })
            .collect();
        assert_eq!(get(at, "/readyz").status, 200);
        assert!(metric(at, "inferd_connections") <= 13);
        drop(idle);
    }
    assert!(metric(at, "inferd_connections_closed_total{reason=\"evicted\"}") > 150);
    // The connection with a request in flight has outlived all of them.
    model.blocked.store(false, Ordering::SeqCst);
    assert_eq!(receive(&mut busy).unwrap().status, 200);
}

#[test]
fn idle_connections_of_a_unix_socket_make_room_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let mut options = options();
    options.connections.connections_max = 16;
    options.listen.push(Listen::Unix(path.clone()));
    let server = open(options);
    let _idle: Vec<_> = (0..100).map(|_| UnixStream::connect(&path).unwrap()).collect();
    let mut probe = UnixStream::connect(&path).unwrap();
    probe.write_all(b"GET /readyz HTTP/1.1\r\nhost: any\r\nconnection: close\r\n\r\n").unwrap();
    let mut response = String::new();
    probe.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200"), "{response}");
    // A client of another kind is not affected.
    assert_eq!(embed(address(&server), "{\"input\":\"a\"}").status, 200);
}

#[test]
fn probes_are_served_while_all_connections_are_busy() {
    let mut options = options();
    options.connections.connections_max = 4;
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let server = Server::open_with(options, loader(&model)).unwrap();
    let at = address(&server);
    std::thread::scope(|scope| {
        // One address takes three quarters of the connections.
        let held: Vec<_> =
            (0..3).map(|_| scope.spawn(move || embed(at, "{\"input\":\"a\"}").status)).collect();
        wait_until("three requests are in flight", || server.inflight_requests() == 3);
        for path in ["/readyz", "/healthz", "/metrics", "/"] {
            assert_eq!(get(at, path).status, 200, "{path}");
        }
        for rejected in [embed(at, "{\"input\":\"a\"}"), get(at, "/v1/models")] {
            check_error(&rejected, 503, "connections_full");
            assert_eq!(rejected.header("connection"), Some("close"));
            assert!(rejected.header("retry-after").is_some());
        }
        model.blocked.store(false, Ordering::SeqCst);
        held.into_iter().for_each(|request| assert_eq!(request.join().unwrap(), 200));
    });
    assert_eq!(embed(at, "{\"input\":\"a\"}").status, 200);
}

#[test]
fn the_admin_listener_serves_probes_and_metrics_on_connections_of_its_own() {
    let mut options = options();
    options.connections.connections_max = 1;
    options.admin_listen = vec!["127.0.0.1:0".parse().unwrap()];
    let server = open(options);
    let [Listen::Tcp(admin)] = server.admin_addresses() else { panic!("{:?}", server.admin_addresses()) };
    let _idle: Vec<_> = (0..20).map(|_| connect(address(&server))).collect();
    for path in ["/readyz", "/healthz", "/metrics", "/"] {
        assert_eq!(get(*admin, path).status, 200, "{path}");
    }
    check_error(&get(*admin, "/v1/models"), 404, "unknown_url");
    check_error(&embed(*admin, "{\"input\":\"a\"}"), 404, "unknown_url");
    assert_eq!(server.drain(Duration::from_secs(5)), DrainOutcome::Complete);
}

#[test]
fn a_loopback_listener_rejects_hosts_of_other_sites() {
    let as_host = |at, path: &str, host: &str| {
        let mut stream = connect(at);
        write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").unwrap();
        receive(&mut stream).unwrap()
    };
    let server = open(options());
    let at = address(&server);
    check_error(&as_host(at, "/v1/models", "rebind.example:8080"), 403, "host_not_allowed");
    check_error(&as_host(at, "/metrics", "rebind.example"), 403, "host_not_allowed");
    for host in ["localhost", "127.0.0.1:8080", "[::1]:8080"] {
        assert_eq!(as_host(at, "/v1/models", host).status, 200, "{host}");
    }
    assert_eq!(as_host(at, "/readyz", "rebind.example").status, 200);

    let mut named = options();
    named.allowed_hosts = vec!["rebind.example".parse().unwrap()];
    assert_eq!(as_host(address(&open(named)), "/v1/models", "Rebind.Example:80").status, 200);
    let mut wildcard = options();
    wildcard.listen = vec!["0.0.0.0:0".parse().unwrap()];
    let server = open(wildcard);
    let at = SocketAddr::from(([127, 0, 0, 1], address(&server).port()));
    assert_eq!(as_host(at, "/v1/models", "rebind.example").status, 200);
}

#[test]
fn clients_behind_a_trusted_proxy_have_shares_of_their_own() {
    let model = Arc::new(Fake { blocked: true.into(), ..Fake::default() });
    let mut options = behind_a_proxy();
    options.admission.requests_max = 4;
    let server = Server::open_with(options, loader(&model)).unwrap();
    let at = address(&server);
    std::thread::scope(|scope| {
        // What the client itself puts before its address changes nothing.
        let names = ["192.0.2.1", "198.51.100.1, 192.0.2.1", "198.51.100.2, 192.0.2.1, 127.0.0.5"];
        let held: Vec<_> =
            names.map(|name| scope.spawn(move || embed_as(at, name).status)).into_iter().collect();
        wait_until("three requests are in flight", || server.inflight_requests() == 3);
        check_error(&embed_as(at, "198.51.100.3, 192.0.2.1"), 429, "queue_full");
        let other = scope.spawn(move || embed_as(at, "192.0.2.2").status);
        wait_until("four requests are in flight", || server.inflight_requests() == 4);
        model.blocked.store(false, Ordering::SeqCst);
        held.into_iter().chain([other]).for_each(|request| assert_eq!(request.join().unwrap(), 200));
    });
}

#[test]
fn the_time_limit_of_a_request_includes_its_body() {
    let mut options = options();
    options.requests.body_timeout = Duration::from_secs(20);
    let server = open(options);
    let mut stream = begin(address(&server), "-", "x-request-timeout-ms: 50\r\ncontent-length: 100", b"{");
    let response = receive(&mut stream).unwrap();
    check_error(&response, 504, "timeout");
    assert_eq!(response.json()["error"]["type"], "timeout_error");
    wait_until("the permit is released", || server.inflight_requests() == 0);
}
