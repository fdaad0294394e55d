//! Clients and machines that misbehave, one after the other, against one server that must go on as if nothing had been.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::client::{Client, Missed, post};
use super::findings::Findings;
use super::server::Server;

const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Time limits short enough to be waited for.
const LIMITS: [&str; 8] =
    ["--header-timeout", "1 s", "--body-timeout", "1 s", "--write-timeout", "1 s", "--body-max", "1 MiB"];
const SETTLE_MAX: Duration = Duration::from_secs(15);

pub fn run(binary: &Path, model: &str, findings: &mut Findings) -> anyhow::Result<()> {
    let arguments = [&["--model", model][..], &LIMITS[..]].concat();
    let mut server = Server::start(binary, &arguments)?;
    let address = server.address;
    anyhow::ensure!(healthy(address), "the server does not answer before anything was done to it");
    let before = server.sample()?;

    let expect = |findings: &mut Findings, what: &str, expected: &str, found: String, as_expected: bool| {
        // What was done may hold bytes of the queue until its time limit; a healthy server is back then.
        let started = Instant::now();
        let mut alive = healthy(address);
        while !alive && started.elapsed() < SETTLE_MAX {
            std::thread::sleep(Duration::from_millis(50));
            alive = healthy(address);
        }
        let after = if alive { "" } else { "; a good request is not answered afterwards" };
        findings.add(
            what,
            as_expected && alive,
            format!("{expected}; then a good request is answered"),
            found + after,
        );
    };
    for (what, expected, request) in requests() {
        let found = raw(address, &request);
        let as_expected = expected.contains(&found.as_str());
        expect(findings, what, &expected.join(" or "), found, as_expected);
    }

    let half_open: Vec<_> = (0..100).filter_map(|n| half_open(address, n)).collect();
    let opened = half_open.len();
    let alive_meanwhile = healthy(address);
    let closed = half_open.into_iter().filter(ended_by_peer).count();
    let found = format!("{closed} of {opened} were closed; a good request meanwhile: {alive_meanwhile}");
    expect(
        findings,
        "half-open connections",
        "all are closed in time",
        found,
        closed == 100 && alive_meanwhile,
    );

    let slow: Vec<_> = (0..8).filter_map(|_| slow_reader(address)).collect();
    let alive_meanwhile = healthy(address);
    let found =
        format!("{} readers that do not read; a good request meanwhile: {alive_meanwhile}", slow.len());
    expect(findings, "slow readers", "others are served", found, slow.len() == 8 && alive_meanwhile);
    drop(slow);

    let gone: Vec<_> = (0..50).filter_map(|_| ask_and_leave(address)).collect();
    expect(
        findings,
        "clients that go away",
        "their work ends",
        format!("{} left", gone.len()),
        gone.len() == 50,
    );

    let started = Instant::now();
    let mut after = server.sample()?;
    while (after.held, after.threads) != (0.0, before.threads) && started.elapsed() < SETTLE_MAX {
        std::thread::sleep(Duration::from_millis(50));
        after = server.sample()?;
    }
    findings.add(
        "nothing is left behind",
        (after.held, after.threads) == (0.0, before.threads) && server.ended()?.is_none(),
        format!("no permit held, {} threads as before", before.threads),
        format!("{} permits held, {} threads", after.held, after.threads),
    );
    drop(server);
    files_run_out(binary, model, findings)
}

/// What to send, and which statuses (or `closed`) are right.
fn requests() -> Vec<(&'static str, Vec<&'static str>, Vec<u8>)> {
    let embeddings = |body: &[u8]| post("/v1/embeddings", body);
    let nested = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let oversized = [br#"{"input":""#.to_vec(), vec![b'a'; 2 << 20], br#""}"#.to_vec()].concat();
    vec![
        ("garbage instead of HTTP", vec!["400", "closed"], vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0xff, b'\n', b'\n']),
        ("bytes without an end of line", vec!["400", "408", "closed"], vec![b'x'; 10_000]),
        ("headers without an end", vec!["431", "400", "closed"], [b"GET / HTTP/1.1\r\na: ".to_vec(), vec![b'a'; 1 << 20]].concat()),
        ("a content-length that lies", vec!["400", "408", "closed"], b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9999\r\n\r\n{".to_vec()),
        ("two content-lengths", vec!["400", "closed"], b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}".to_vec()),
        ("oversized JSON", vec!["413"], embeddings(&oversized)),
        ("deep nesting", vec!["400"], embeddings(&nested)),
        ("invalid UTF-8", vec!["400"], embeddings(b"{\"input\":\"\xff\xfe\"}")),
        ("a lone surrogate", vec!["400"], embeddings(br#"{"input":"\ud800"}"#)),
        ("a number beyond any", vec!["400"], embeddings(br#"{"input":[1e999999]}"#)),
        ("half a JSON text", vec!["400"], embeddings(br#"{"input":["#)),
        ("an empty body", vec!["400"], embeddings(b"")),
    ]
}

/// The status of the first answer, or `closed`.
fn raw(address: SocketAddr, request: &[u8]) -> String {
    let Ok(mut stream) = connect(address) else { return "not connected".into() };
    // The server may close while we still send.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return "still open".into(),
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&answer);
    text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).unwrap_or("closed").to_string()
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.set_write_timeout(Some(ANSWER_MAX))?;
    Ok(stream)
}

pub fn healthy(address: SocketAddr) -> bool {
    let answer = Client::new(address, ANSWER_MAX).post("/v1/embeddings", br#"{"input":"a good request"}"#);
    matches!(answer, Ok(answer) if answer.status == 200)
}

/// Some say nothing, some stop in the headers, some in the body.
fn half_open(address: SocketAddr, number: usize) -> Option<TcpStream> {
    let mut stream = connect(address).ok()?;
    let begin: &[u8] = match number % 3 {
        0 => b"",
        1 => b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\n",
        _ => b"POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    };
    stream.write_all(begin).ok()?;
    Some(stream)
}

fn ended_by_peer(stream: &TcpStream) -> bool {
    let mut stream = stream;
    let mut bytes = Vec::new();
    // An answer (408) may come first; what counts is that the end comes.
    stream.read_to_end(&mut bytes).is_ok()
}

/// Asks for more than the buffers of the two systems hold, and reads nothing.
fn slow_reader(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = connect(address).ok()?;
    let texts = vec!["\"a\""; 1000].join(",");
    let request = post("/v1/embeddings", format!("{{\"input\":[{texts}]}}").as_bytes());
    stream.write_all(&request).ok()?;
    Some(stream)
}

fn ask_and_leave(address: SocketAddr) -> Option<()> {
    let mut stream = connect(address).ok()?;
    let text = "the quick brown fox jumps ".repeat(40);
    let texts = vec![format!("{text:?}"); 50].join(",");
    stream.write_all(&post("/v1/embeddings", format!("{{\"input\":[{texts}]}}").as_bytes())).ok()
}

/// More connections than the process may have files: it must wait, not spin and not end.
fn files_run_out(binary: &Path, model: &str, findings: &mut Findings) -> anyhow::Result<()> {
    const FILES: u32 = 40;
    let arguments = [&["--model", model][..], &LIMITS[..]].concat();
    let mut server = Server::start_with_files(binary, FILES, &arguments)?;
    let held: Vec<_> = (0..3 * FILES).filter_map(|_| connect(server.address).ok()).collect();
    std::thread::sleep(Duration::from_millis(500));
    let complained = server.log().contains("accept_failed");
    let opened = held.len();
    drop(held);
    let started = Instant::now();
    let mut back = false;
    while !back && started.elapsed() < SETTLE_MAX {
        back = healthy(server.address);
    }
    let ended = server.ended()?;
    findings.add(
        "no file descriptors left",
        complained && back && ended.is_none(),
        "the log says so; when connections end, requests are answered again",
        format!("{opened} connections on {FILES} files; log says accept_failed: {complained}; answers again: {back}"),
    );
    Ok(())
}

/// For callers that only want to know whether a request gets through.
pub fn status(address: SocketAddr, path: &str) -> Result<u16, Missed> {
    Client::new(address, ANSWER_MAX).get(path).map(|answer| answer.status)
}
