//! A reader of stderr that stops, and requests with long paths: the log must take a bounded part of the memory.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use process::Runner;

use crate::http_client::Client;
use crate::probe::is_healthy;
use crate::process_memory::{MIB, Resident, peak_during};
use crate::server::Server;
use crate::{BOUNDED_MEMORY, FAULT_RESPONSE, ScenarioCheck};

const CONNECTIONS: usize = 16;
const REQUESTS: usize = 250;
/// Below the limit of the server for a head (16 KiB); a longer one gets 431 and is not logged.
const PATH_BYTES: usize = 12_000;
/// The queue of the log has 1 MiB. The rest is for 16 connections with buffers in both directions.
const GROWTH_MIB_MAX: f64 = 8.0;
const TIMEOUT: Duration = Duration::from_secs(20);

pub fn run(binary: &Path, model: &str, runner: &Runner) -> anyhow::Result<Vec<ScenarioCheck>> {
    let mut checks = Vec::new();
    for form in ["text", "json"] {
        let server = Server::start_with_unread_log(binary, &["--model", model, "--log-format", form])?;
        let before = is_healthy(server.address());
        let idle = Resident::read(&server)?;
        let (statuses, peak) = peak_during(&server, || {
            std::thread::scope(|scope| {
                let clients: Vec<_> = (0..CONNECTIONS)
                    .map(|_| scope.spawn(|| request_long_paths(server.address(), runner)))
                    .collect();
                clients.into_iter().map(|client| client.join().unwrap_or(0)).sum::<usize>()
            })
        })?;
        let healthy = before && is_healthy(server.address());
        let growth = (peak.total - idle.total) / MIB;
        checks.push(ScenarioCheck::new(
            &BOUNDED_MEMORY,
            format!("memory of a blocked {form} log"),
            growth < GROWTH_MIB_MAX,
            format!("less than {GROWTH_MIB_MAX} MiB above idle"),
            format!("{growth:.1} MiB above idle after {} long paths", CONNECTIONS * REQUESTS),
        ));
        checks.push(ScenarioCheck::new(
            &FAULT_RESPONSE,
            format!("requests with a blocked {form} log"),
            statuses == CONNECTIONS * REQUESTS && healthy,
            "every request gets 404 with a short message, and a valid one 200",
            format!("{statuses} of {} got it; valid request: {healthy}", CONNECTIONS * REQUESTS),
        ));
    }
    Ok(checks)
}

/// The number of responses that are as expected.
fn request_long_paths(address: SocketAddr, runner: &Runner) -> usize {
    let path = format!("/{}", "p".repeat(PATH_BYTES));
    let mut client = Client::new(address, TIMEOUT);
    let is_expected = |_: &usize| {
        runner.check().is_ok()
            && client.get(&path).is_ok_and(|response| response.status == 404 && response.body.len() < 1000)
    };
    (0..REQUESTS).filter(is_expected).count()
}
