//! Bodies that are announced and do not arrive, or stop arriving: other clients are served, and the server ends them.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::http_client::connect;
use crate::probe::{TIMEOUT, wait_until};
use crate::server::Server;
use crate::victim::{self, attacker, is_served};
use crate::{NO_PROGRESS, RESOURCE_LEAK, ScenarioCheck};

/// The default of `--max-body-bytes`.
const BODY_BYTES: usize = 8 << 20;
/// Bodies of this size fill the default of `--max-inflight-bytes`.
const BODIES: usize = 8;
const OBSERVED: Duration = Duration::from_secs(3);
/// A part of the default of `--body-timeout`, 20 s: what has no progress must end earlier.
const STALLED_MAX: Duration = Duration::from_secs(15);
const SETTLE_TIMEOUT: Duration = Duration::from_secs(30);
const ATTACKERS: u8 = 16;
/// The second client's bodies are large enough to need bytes of the limit.
const VICTIM_BODY_BYTES: usize = 64 << 10;
const REST_BYTES: usize = 4096;

pub fn run(binary: &Path, model: &str) -> anyhow::Result<Vec<ScenarioCheck>> {
    let server = Server::start(binary, &["--model", model])?;
    let address = server.address();
    let mut checks = Vec::new();
    let mut attack = |name: &str, streams: Vec<TcpStream>| {
        checks.push(is_served(name, address, victim::ADDRESS, VICTIM_BODY_BYTES, OBSERVED));
        streams
    };
    let one = attacker(1);
    drop(attack("bodies that are announced and not sent", bodies(address, one, Length::Announced, 0)));
    drop(attack("bodies without a length that are not sent", bodies(address, one, Length::Chunked, 1)));
    let started = Instant::now();
    let stalled = attack(
        "bodies that stop before their end",
        bodies(address, one, Length::Announced, BODY_BYTES - REST_BYTES),
    );
    let opened = stalled.len();
    let ended = stalled.into_iter().filter(|stream| ends_by(stream, started + STALLED_MAX)).count();
    checks.push(ScenarioCheck::new(
        &NO_PROGRESS,
        "bodies without progress end",
        ended == opened && opened == BODIES,
        format!("all end within {} s, before the time limit of a body", STALLED_MAX.as_secs()),
        format!("{ended} of {opened} ended"),
    ));
    let many: Vec<_> =
        (1..=ATTACKERS).flat_map(|n| bodies(address, attacker(n), Length::Announced, 1 << 10)).collect();
    checks.push(is_served(
        "bodies of many addresses that are announced and not sent",
        address,
        victim::ADDRESS,
        VICTIM_BODY_BYTES,
        OBSERVED,
    ));
    drop(many);
    let is_settled =
        wait_until(SETTLE_TIMEOUT, || server.sample().is_ok_and(|sample| sample.requests_held == 0.0));
    checks.push(ScenarioCheck::new(
        &RESOURCE_LEAK,
        "no permit remains",
        is_settled,
        "0 permits held",
        format!("{} permits held", server.sample()?.requests_held),
    ));
    Ok(checks)
}

#[derive(Clone, Copy)]
enum Length {
    Announced,
    Chunked,
}

/// Requests whose body begins with `bytes` bytes and then stops.
fn bodies(address: SocketAddr, source: IpAddr, length: Length, bytes: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = connect(address, Some(source), TIMEOUT).ok()?;
        let (header, frame) = match length {
            Length::Announced => (format!("content-length: {BODY_BYTES}"), String::new()),
            Length::Chunked => ("transfer-encoding: chunked".into(), format!("{BODY_BYTES:x}\r\n")),
        };
        let head = format!(
            "POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{header}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), frame.as_bytes()].concat()).ok()?;
        // The server may reject the request and close while this client still sends.
        let _ = stream.write_all(&vec![b' '; bytes]);
        Some(stream)
    };
    (0..BODIES).filter_map(open).collect()
}

/// Whether the server answers or closes the connection by `deadline`.
fn ends_by(stream: &TcpStream, deadline: Instant) -> bool {
    let mut stream = stream;
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let _ = stream.set_read_timeout(Some(left));
    let read = stream.read(&mut [0; 64]);
    !matches!(read, Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut))
}
