//! Many connections that post long texts to `/tokenize`: an embedding beside them must not wait for more than its share.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use process::Runner;

use crate::http_client::Client;
use crate::server::Server;
use crate::shared_latency::{Limit, TIMEOUT, embed};
use crate::traffic::Outcomes;
use crate::two_clients::{KeyFile, LOAD, OTHER};
use crate::{ScenarioCheck, UNEXPECTED_RESPONSE};

/// Connections of one client that post to `/tokenize`.
const CONNECTIONS: usize = 64;
const TEXT_BYTES: usize = 130_000;
const LOADED: Duration = Duration::from_secs(15);

pub fn run(binary: &Path, model: &str, runner: &Runner) -> anyhow::Result<Vec<ScenarioCheck>> {
    let keys = KeyFile::create()?;
    let path = keys.path();
    let server = Server::start(binary, &["--model", model, "--api-keys", &path])?;
    let address = server.address();
    let limit = Limit::measure(address, runner)?;

    let (flood, same, other) = std::thread::scope(|scope| {
        let flood: Vec<_> =
            (0..CONNECTIONS).map(|number| scope.spawn(move || tokenize(address, number, runner))).collect();
        // The measurement begins when the queue is full.
        std::thread::sleep(Duration::from_secs(1));
        let measured = LOADED.saturating_sub(Duration::from_secs(2));
        let same = scope.spawn(move || embed(address, LOAD, measured, runner));
        let other = embed(address, OTHER, measured, runner);
        let mut all = Outcomes::default();
        for client in flood {
            all.merge(client.join().unwrap_or_default());
        }
        (all, same.join().unwrap_or_default(), other)
    });
    let unexpected = [&flood, &same, &other].map(|outcomes| outcomes.unexpected(&[200, 429])).concat();
    let lost = flood.lost.len() + same.lost.len() + other.lost.len();
    Ok(vec![
        limit.check("embedding of another client", &other),
        limit.check("embedding of the same client", &same),
        ScenarioCheck::new(
            &UNEXPECTED_RESPONSE,
            "tokenization continues",
            flood.count(200) > 0 && unexpected.is_empty() && lost == 0,
            "200, and 429 with Retry-After",
            format!(
                "{} texts of {TEXT_BYTES} bytes tokenized, {} throttled; other statuses {unexpected:?}, {lost} lost",
                flood.count(200),
                flood.count(429)
            ),
        ),
    ])
}

/// Half of the texts have short words, half have words that take the tokenizer many steps each.
fn tokenize(address: SocketAddr, number: usize, runner: &Runner) -> Outcomes {
    let word = if number.is_multiple_of(2) { "harbour ".to_string() } else { "xq".repeat(49) + " " };
    let text = word.repeat(TEXT_BYTES / word.len());
    let body = format!("{{\"inputs\":{text:?}}}");
    let mut client = Client::new(address, TIMEOUT).with_key(LOAD);
    let (mut outcomes, started) = (Outcomes::default(), Instant::now());
    while started.elapsed() < LOADED && runner.check().is_ok() {
        let sent = Instant::now();
        outcomes.record(client.post("/tokenize", body.as_bytes()), sent.elapsed());
    }
    outcomes
}
