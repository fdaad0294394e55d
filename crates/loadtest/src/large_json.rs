//! Bodies of 8 MB that are parsed, and responses of 9 MB that are encoded: both take the time of a core, and requests of another
//! client must not wait for the threads that do it. Beside responses only probes are judged: an embedding also waits for the batches
//! of the other embeddings.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use process::Runner;

use crate::http_client::Client;
use crate::server::Server;
use crate::shared_latency::{Limit, TIMEOUT, embed, probe};
use crate::traffic::Outcomes;
use crate::two_clients::{KeyFile, LOAD, OTHER};
use crate::{ScenarioCheck, UNEXPECTED_RESPONSE};

/// Connections of the client that sends the load; their bodies fit its share of the default of 64 MiB.
const CONNECTIONS: usize = 6;
const LOADED: Duration = Duration::from_secs(10);
/// Below the default of `--max-body-bytes`.
const BODY_BYTES: usize = 8_000_000;
/// Inputs of one request: the default limit. The response has 9 MB of JSON.
const INPUTS: usize = 2048;

pub fn run(binary: &Path, model: &str, runner: &Runner) -> anyhow::Result<Vec<ScenarioCheck>> {
    let keys = KeyFile::create()?;
    let path = keys.path();
    // One thread of HTTP: with more, both would have to be busy at the same time to delay a probe.
    let server = Server::start(binary, &["--model", model, "--api-keys", &path, "--threads", "1"])?;
    let limit = Limit::measure(server.address(), runner)?;
    // The parser replaces each escape sequence.
    let escapes = "\\u00e9".repeat(BODY_BYTES / 6);
    let bodies = format!("{{\"input\":\"a\",\"user\":\"{escapes}\"}}");
    let responses = format!("{{\"input\":[{}]}}", vec!["\"a\""; INPUTS].join(","));
    let mut checks = Vec::new();
    for (name, body) in [("bodies of 8 MB", &bodies), ("responses of 9 MB", &responses)] {
        let other = |duration| probe(server.address(), duration, runner);
        let (load, probes) = beside(server.address(), body.as_bytes(), runner, other);
        checks.push(limit.check_probes(&format!("probe beside {name}"), &probes));
        checks.push(statuses(name, &load, &probes));
    }
    let other = |duration| embed(server.address(), OTHER, duration, runner);
    let (_, embeddings) = beside(server.address(), bodies.as_bytes(), runner, other);
    checks.push(limit.check("embedding beside bodies of 8 MB", &embeddings));
    Ok(checks)
}

fn statuses(name: &str, load: &Outcomes, probes: &Outcomes) -> ScenarioCheck {
    let unexpected = [load.unexpected(&[200, 429]), probes.unexpected(&[200])].concat();
    let lost = load.lost.len() + probes.lost.len();
    ScenarioCheck::new(
        &UNEXPECTED_RESPONSE,
        format!("{name} are served"),
        load.count(200) > 0 && unexpected.is_empty() && lost == 0,
        "200; 429 for the load",
        format!(
            "{} with 200, {} throttled; other statuses {unexpected:?}, {lost} lost",
            load.count(200),
            load.count(429)
        ),
    )
}

/// Outcomes of the load, and of `other` beside it.
fn beside(
    server: SocketAddr,
    body: &[u8],
    runner: &Runner,
    other: impl FnOnce(Duration) -> Outcomes,
) -> (Outcomes, Outcomes) {
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| post(server, body, runner))).collect();
        // The measurement begins beside the full load, and ends before it.
        std::thread::sleep(Duration::from_secs(1));
        let other = other(LOADED.saturating_sub(Duration::from_secs(2)));
        let mut all = Outcomes::default();
        for client in load {
            all.merge(client.join().unwrap_or_default());
        }
        (all, other)
    })
}

fn post(server: SocketAddr, body: &[u8], runner: &Runner) -> Outcomes {
    let mut client = Client::new(server, TIMEOUT).with_key(LOAD);
    let (mut outcomes, started) = (Outcomes::default(), Instant::now());
    while started.elapsed() < LOADED && runner.check().is_ok() {
        let sent = Instant::now();
        outcomes.record(client.post("/v1/embeddings", body), sent.elapsed());
    }
    outcomes
}
