//! A closed loop of clients against a server: `serve-load BINARY MODEL CLIENTS SECONDS`. Prints one line of JSON.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use loadtest::bench::{Server, Traffic, embedding_requests};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [binary, model, clients, seconds] = arguments.as_slice() else {
        anyhow::bail!("usage: serve-load BINARY MODEL CLIENTS SECONDS");
    };
    let clients: usize = clients.parse().context("CLIENTS")?;
    let duration = Duration::from_secs(seconds.parse().context("SECONDS")?);
    // One address may hold three quarters of the requests.
    let inflight = (clients * 2).to_string();
    let server = Server::start(Path::new(binary), &["--model", model, "--max-inflight", &inflight])?;
    let idle = server.sample()?.resident_bytes;
    let bodies = embedding_requests();
    let runner = process::Runner::without_signals();
    let traffic = Traffic {
        address: server.address(),
        clients,
        duration,
        rate: None,
        bodies: &bodies,
        runner: &runner,
    };
    let outcomes = traffic.run();
    let loaded = server.sample()?.resident_bytes;
    std::thread::sleep(Duration::from_secs(10));
    let after = server.sample()?.resident_bytes;
    let accepted = outcomes.count(200);
    let other: usize =
        outcomes.unexpected(&[200]).iter().map(|(_, count)| count).sum::<usize>() + outcomes.lost.len();
    let milliseconds = |percent| outcomes.percentile(percent).unwrap_or(0.0) * 1e3;
    println!(
        "{{\"accepted\":{accepted},\"other\":{other},\"requests_per_second\":{:.1},\"p50_ms\":{:.1},\"p99_ms\":{:.1},\
         \"resident_idle\":{idle},\"resident_loaded\":{loaded},\"resident_after_10_s\":{after}}}",
        accepted as f64 / duration.as_secs_f64(),
        milliseconds(50.0),
        milliseconds(99.0)
    );
    Ok(())
}
