//! What must hold after every load: the server answers, holds nothing of its clients, and has not panicked.

use std::time::Duration;

use crate::metrics::Sample;
use crate::probe::{is_healthy, wait_until};
use crate::server::Server;
use crate::{FAULT_RESPONSE, PANIC, RESOURCE_LEAK, ScenarioCheck};

/// Longer than the time limits of connections whose clients have left.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Compares a server with its state before the load, when no client but this one is left.
pub fn checks(server: &mut Server, before: &Sample) -> anyhow::Result<[ScenarioCheck; 3]> {
    let lazy_threads = lazy_threads();
    let recovers = wait_until(TIMEOUT, || is_healthy(server.address()));
    let mut after = server.sample();
    let is_settled = wait_until(TIMEOUT, || {
        after = server.sample();
        after.as_ref().is_ok_and(|after| is_unused(after, before, lazy_threads))
    });
    let (exit, panics) = (server.exit_code()?, server.panics());
    Ok([
        ScenarioCheck::new(
            &FAULT_RESPONSE,
            "a valid request is still answered",
            recovers,
            "200",
            if recovers { "200" } else { "not 200" },
        ),
        ScenarioCheck::new(
            &RESOURCE_LEAK,
            "no connection and no permit remains",
            is_settled,
            format!(
                "1 connection, 0 permits held, {} threads as before and at most {lazy_threads} of OpenBLAS",
                before.threads
            ),
            after.map_or_else(
                |error| error.to_string(),
                |after| {
                    let Sample { connections, requests_held, threads, .. } = after;
                    format!("{connections} connections, {requests_held} permits held, {threads} threads")
                },
            ),
        ),
        ScenarioCheck::new(
            &PANIC,
            "no panic",
            exit.is_none() && panics.is_empty(),
            "a running process, and no panic in its log",
            match (exit, panics.first()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, Some(first)) => format!("{} panics: {first}", panics.len()),
                (None, None) => "none".into(),
            },
        ),
    ])
}

/// OpenBLAS starts its workers, one less than the threads of the server, when a computation first needs them.
pub fn lazy_threads() -> f64 {
    std::thread::available_parallelism().map_or(1, usize::from) as f64 - 1.0
}

/// No permit, and no thread but `lazy_threads`.
pub fn holds_nothing(after: &Sample, before: &Sample, lazy_threads: f64) -> bool {
    let more_threads = after.threads - before.threads;
    after.requests_held == 0.0 && (0.0..=lazy_threads).contains(&more_threads)
}

/// The connection that reads the sample is the only one.
fn is_unused(after: &Sample, before: &Sample, lazy_threads: f64) -> bool {
    after.connections == 1.0 && holds_nothing(after, before, lazy_threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_a_permit_or_a_thread_is_a_use() {
        let before = Sample {
            resident_bytes: 1e8,
            threads: 9.0,
            requests_held: 0.0,
            connections: 1.0,
            blas_threads: 2.0,
        };
        assert!(is_unused(&Sample { resident_bytes: 2e8, ..before }, &before, 0.0));
        for after in [
            Sample { connections: 2.0, ..before },
            Sample { requests_held: 1.0, ..before },
            Sample { threads: 10.0, ..before },
        ] {
            assert!(!is_unused(&after, &before, 0.0), "{after:?}");
        }
    }
}
