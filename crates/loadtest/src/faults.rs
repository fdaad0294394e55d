//! Misbehaving clients and a lack of file descriptors: one server must handle each fault and stay healthy.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use diag::Diagnostic;

use crate::aftermath::{holds_nothing, lazy_threads};
use crate::http_client::post_request;
use crate::probe::{TIMEOUT, is_healthy, wait_until};
use crate::server::Server;
use crate::{DESCRIPTORS, FAULT_RESPONSE, NOT_MEASURED, RESOURCE_LEAK, ScenarioCheck};

/// Time limits of the server, short enough to wait for.
const LIMITS: [&str; 8] = [
    "--header-timeout",
    "1 s",
    "--body-timeout",
    "1 s",
    "--write-timeout",
    "1 s",
    "--max-body-bytes",
    "1 MiB",
];
const SETTLE_TIMEOUT: Duration = Duration::from_secs(15);
const HALF_OPEN: usize = 100;
const SLOW_READERS: usize = 8;
const DISCONNECTS: usize = 50;
const DESCRIPTORS_MAX: u32 = 40;

pub fn run(binary: &Path, model: &str) -> anyhow::Result<Vec<ScenarioCheck>> {
    let arguments = [&["--model", model][..], &LIMITS[..]].concat();
    let mut server = Server::start(binary, &arguments)?;
    if !is_healthy(server.address()) {
        return Err(Diagnostic::new(&NOT_MEASURED, "the server does not answer before any fault").into());
    }
    let before = server.sample()?;
    let mut checks: Vec<ScenarioCheck> = malformed_requests()
        .into_iter()
        .map(|(name, allowed, request)| {
            let found = first_status(server.address(), &request);
            let as_expected = allowed.contains(&found.as_str());
            fault(server.address(), name, &allowed.join(" or "), found, as_expected)
        })
        .collect();
    checks.extend(misbehaving_clients(server.address()));

    let mut after = server.sample();
    let is_settled = wait_until(SETTLE_TIMEOUT, || {
        after = server.sample();
        after.as_ref().is_ok_and(|after| holds_nothing(after, &before, lazy_threads()))
    });
    let after = after?;
    checks.push(ScenarioCheck::new(
        &RESOURCE_LEAK,
        "no permit and no thread remains",
        is_settled && server.exit_code()?.is_none(),
        format!(
            "0 permits held, {} threads as before and at most {} of OpenBLAS",
            before.threads,
            lazy_threads()
        ),
        format!("{} permits held, {} threads", after.requests_held, after.threads),
    ));
    drop(server);
    checks.push(descriptor_exhaustion(binary, &arguments)?);
    Ok(checks)
}

/// A fault is handled if its outcome is as expected and a valid request succeeds afterwards. What was sent may occupy the
/// server until its time limit.
fn fault(address: SocketAddr, name: &str, expected: &str, found: String, as_expected: bool) -> ScenarioCheck {
    let recovers = wait_until(SETTLE_TIMEOUT, || is_healthy(address));
    let suffix = if recovers { "" } else { "; a valid request fails afterwards" };
    ScenarioCheck::new(
        &FAULT_RESPONSE,
        name,
        as_expected && recovers,
        format!("{expected}; then 200 for a valid request"),
        found + suffix,
    )
}

fn misbehaving_clients(address: SocketAddr) -> [ScenarioCheck; 3] {
    let half_open: Vec<_> = (0..HALF_OPEN).filter_map(|number| half_open(address, number)).collect();
    let opened = half_open.len();
    let healthy = is_healthy(address);
    let closed = half_open.into_iter().filter(is_closed_by_server).count();
    let half_open = fault(
        address,
        "half-open connections",
        "all are closed within the time limits; valid requests succeed meanwhile",
        format!("{closed} of {opened} closed; valid request meanwhile: {healthy}"),
        closed == HALF_OPEN && healthy,
    );

    let readers: Vec<_> = (0..SLOW_READERS).filter_map(|_| slow_reader(address)).collect();
    let healthy = is_healthy(address);
    let slow_readers = fault(
        address,
        "slow readers",
        "valid requests succeed meanwhile",
        format!("{} clients that do not read; valid request meanwhile: {healthy}", readers.len()),
        readers.len() == SLOW_READERS && healthy,
    );
    drop(readers);

    let sent = (0..DISCONNECTS).filter_map(|_| send_and_disconnect(address)).count();
    let disconnects = fault(
        address,
        "clients that disconnect",
        "their work ends",
        format!("{sent} disconnected"),
        sent == DISCONNECTS,
    );
    [half_open, slow_readers, disconnects]
}

/// Name, allowed outcomes (a status, or `closed`), request.
fn malformed_requests() -> Vec<(&'static str, Vec<&'static str>, Vec<u8>)> {
    let embed = |body: &[u8]| post_request("/v1/embeddings", body);
    let nested = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let oversized = [br#"{"input":""#.to_vec(), vec![b'a'; 2 << 20], br#""}"#.to_vec()].concat();
    vec![
        ("TLS instead of HTTP", vec!["400", "closed"], vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0xff, b'\n', b'\n']),
        ("no line end", vec!["400", "408", "closed"], vec![b'x'; 10_000]),
        ("endless headers", vec!["431", "400", "closed"], [b"GET / HTTP/1.1\r\na: ".to_vec(), vec![b'a'; 1 << 20]].concat()),
        ("content-length beyond the body", vec!["400", "408", "closed"], b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{".to_vec()),
        ("two content-length headers", vec!["400", "closed"], b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".to_vec()),
        ("oversized body", vec!["413"], embed(&oversized)),
        ("deeply nested JSON", vec!["400"], embed(&nested)),
        ("invalid UTF-8", vec!["400"], embed(b"{\"input\":\"\xff\xfe\"}")),
        ("unpaired surrogate", vec!["400"], embed(br#"{"input":"\ud800"}"#)),
        ("number out of range", vec!["400"], embed(br#"{"input":[1e999999]}"#)),
        ("truncated JSON", vec!["400"], embed(br#"{"input":["#)),
        ("empty body", vec!["400"], embed(b"")),
    ]
}

/// The status of the first response, or `closed`.
fn first_status(address: SocketAddr, request: &[u8]) -> String {
    let Ok(mut stream) = connect(address) else { return "not connected".into() };
    // The server may close while this client still sends.
    let _ = stream.write_all(request);
    let mut response = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => response.extend(&chunk[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return "still open".into(),
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&response);
    text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("closed").to_string()
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Sends nothing, a part of the head, or a part of the body.
fn half_open(address: SocketAddr, number: usize) -> Option<TcpStream> {
    let mut stream = connect(address).ok()?;
    let begin: &[u8] = match number % 3 {
        0 => b"",
        1 => b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\n",
        _ => b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    };
    stream.write_all(begin).ok()?;
    Some(stream)
}

fn is_closed_by_server(stream: &TcpStream) -> bool {
    let mut stream = stream;
    let mut bytes = Vec::new();
    // A response (408) may come first.
    stream.read_to_end(&mut bytes).is_ok()
}

/// Requests a response that exceeds the socket buffers of both sides, and reads nothing.
fn slow_reader(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = connect(address).ok()?;
    let texts = vec!["\"a\""; 1000].join(",");
    let request = post_request("/v1/embeddings", format!("{{\"input\":[{texts}]}}").as_bytes());
    stream.write_all(&request).ok()?;
    Some(stream)
}

fn send_and_disconnect(address: SocketAddr) -> Option<()> {
    let mut stream = connect(address).ok()?;
    let text = "the quick brown fox jumps ".repeat(40);
    let texts = vec![format!("{text:?}"); 50].join(",");
    stream.write_all(&post_request("/v1/embeddings", format!("{{\"input\":[{texts}]}}").as_bytes())).ok()
}

/// More connections than the process may have descriptors: it must wait, not spin and not exit.
fn descriptor_exhaustion(binary: &Path, arguments: &[&str]) -> anyhow::Result<ScenarioCheck> {
    let mut server = Server::start_with_descriptors(binary, DESCRIPTORS_MAX, arguments)?;
    let connections: Vec<_> =
        (0..3 * DESCRIPTORS_MAX).filter_map(|_| connect(server.address()).ok()).collect();
    let opened = connections.len();
    let is_logged = wait_until(SETTLE_TIMEOUT, || server.log().contains("accept_failed"));
    drop(connections);
    let started = Instant::now();
    let recovers = wait_until(SETTLE_TIMEOUT, || is_healthy(server.address()));
    let seconds = started.elapsed().as_secs_f64();
    let exit = server.exit_code()?;
    Ok(ScenarioCheck::new(
        &DESCRIPTORS,
        "no file descriptors left",
        is_logged && recovers && exit.is_none(),
        "accept_failed in the log; 200 for a valid request when connections have closed",
        format!(
            "{opened} connections on {DESCRIPTORS_MAX} descriptors; accept_failed logged: {is_logged}; \
             recovered: {recovers}, after {seconds:.1} s"
        ),
    ))
}
