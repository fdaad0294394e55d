//! Clients that request large responses and do not read them: their memory must stay within `--max-inflight-bytes`.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use process::Runner;

use crate::http_client::{Client, authorization, post_request_with};
use crate::process_memory::{MIB, Resident, peak_during};
use crate::server::Server;
use crate::two_clients::{KeyFile, LOAD, OTHER};
use crate::{BOUNDED_MEMORY, FAULT_RESPONSE, ScenarioCheck};

const CLIENTS: usize = 120;
/// Inputs of one request: the default limit.
const INPUTS: usize = 2048;
const DURATION: Duration = Duration::from_secs(45);
const PAUSE: Duration = Duration::from_millis(500);
/// `--max-inflight-bytes`, at its default value.
const INFLIGHT_BYTES: &str = "64 MiB";
const INFLIGHT_MIB: f64 = 64.0;
const TIMEOUT: Duration = Duration::from_mins(1);

pub fn run(binary: &Path, model: &str, runner: &Runner) -> anyhow::Result<Vec<ScenarioCheck>> {
    let keys = KeyFile::create()?;
    let path = keys.path();
    // No client is disconnected within the scenario, so that the responses accumulate.
    let arguments = ["--model", model, "--api-keys", &path, "--max-inflight-bytes", INFLIGHT_BYTES];
    let arguments = [&arguments[..], &["--write-timeout", "60 s"]].concat();
    let server = Server::start(binary, &arguments)?;
    let mut other = Client::new(server.address(), TIMEOUT).with_key(OTHER);
    let small = br#"{"input":"a small request"}"#;
    let _ = other.post("/v1/embeddings", small);
    let idle = Resident::read(&server)?;

    let (statuses, peak) = peak_during(&server, || {
        let sockets: Vec<_> =
            (0..CLIENTS).filter_map(|_| request_and_do_not_read(server.address())).collect();
        let started = Instant::now();
        let mut statuses = Vec::new();
        while started.elapsed() < DURATION && runner.check().is_ok() {
            std::thread::sleep(PAUSE);
            statuses.push(other.post("/v1/embeddings", small).map_or(0, |response| response.status));
        }
        drop(sockets);
        statuses
    })?;
    let growth = (peak.anonymous - idle.anonymous) / MIB;
    let unexpected: Vec<u16> =
        statuses.iter().copied().filter(|status| !matches!(status, 200 | 429)).collect();
    Ok(vec![
        ScenarioCheck::new(
            &BOUNDED_MEMORY,
            "memory of unread responses",
            growth <= INFLIGHT_MIB,
            format!("at most {INFLIGHT_MIB} MiB above idle: `--max-inflight-bytes`, a part of the estimate"),
            format!("{growth:.1} MiB above idle ({:.1} MiB); {CLIENTS} clients", idle.anonymous / MIB),
        ),
        ScenarioCheck::new(
            &FAULT_RESPONSE,
            "another client meanwhile",
            unexpected.is_empty() && statuses.len() > 1,
            "200, or 429 while the bytes are in use",
            format!(
                "{} of {} requests got 200; other statuses {unexpected:?}",
                statuses.iter().filter(|status| **status == 200).count(),
                statuses.len()
            ),
        ),
    ])
}

/// Sends a request whose response has about 9 MiB.
fn request_and_do_not_read(address: SocketAddr) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    let body = format!("{{\"input\":[{}]}}", vec!["\"a\""; INPUTS].join(","));
    stream.write_all(&post_request_with("/v1/embeddings", &authorization(LOAD), body.as_bytes())).ok()?;
    Some(stream)
}
