//! A draining server finishes in-flight requests, rejects later ones with status 503, and ends at its deadline even when the work
//! does not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::check::CheckResult;
use super::in_process::{GatedModel, InProcessServer, Response, TIME_MAX};
use crate::serve::DrainOutcome;
use crate::serve::drain::finish_requests;
use crate::serve::state::AppState;

const REQUESTS: usize = 8;
/// Deadline of the drain whose work does not end.
const DEADLINE: Duration = Duration::from_millis(50);
/// Time for the rejection of the late request. After it the gate opens in any case.
const REJECTION_TIME_MAX: Duration = Duration::from_secs(1);
/// Allowed beyond the deadline on a loaded machine.
const SLACK: Duration = Duration::from_secs(5);

/// The check.
pub fn in_time() -> CheckResult {
    check(|state, time_max| async move { finish_requests(&state, time_max).await })
}

fn check<F: Future<Output = DrainOutcome>>(drain: impl Fn(Arc<AppState>, Duration) -> F) -> CheckResult {
    let expected = format!(
        "{REQUESTS} in-flight requests get status 200 and a late one 503 `draining`; work that does not end gets status 503 after \
         {} ms; no permit is left",
        DEADLINE.as_millis()
    );
    match completes(&drain).and_then(|completed| Ok(format!("{completed}; {}", times_out(&drain)?))) {
        Ok(found) => CheckResult::of(true, expected, found),
        Err(found) => CheckResult::of(false, expected, found),
    }
}

fn body() -> String {
    serde_json::json!({ "input": ["hello world", "a second text"] }).to_string()
}

fn count(responses: &[Response], status: u16) -> usize {
    responses.iter().filter(|response| response.0 == status).count()
}

/// The gate of the model opens while the server drains.
fn completes<F: Future<Output = DrainOutcome>>(
    drain: &impl Fn(Arc<AppState>, Duration) -> F,
) -> Result<String, String> {
    let model = GatedModel::new()?;
    let server = InProcessServer::open(model.clone())?;
    let state = &server.state;
    server.runtime.block_on(async {
        let requests = start_requests(&server, &model).await?;
        let drain = drain(Arc::clone(state), TIME_MAX);
        let late = async {
            // The drain is polled first and has rejected new requests by now.
            tokio::task::yield_now().await;
            let mut late = std::pin::pin!(server.embed(body()));
            let rejected = tokio::time::timeout(REJECTION_TIME_MAX, &mut late).await;
            // A request that was admitted nevertheless waits at the gate like the others.
            model.gate().open = true;
            match rejected {
                Ok(response) => response,
                Err(_) => late.await,
            }
        };
        let late = async { tokio::time::timeout(TIME_MAX, late).await };
        let (outcome, late) = tokio::join!(tokio::time::timeout(TIME_MAX, drain), late);
        model.gate().open = true;
        let outcome = outcome.map_err(|_| "the drain did not end".to_string())?;
        let inflight = state.admission.inflight();
        let responses = responses(requests).await?;
        let late = late.map_err(|_| "the late request got no response".to_string())?;
        let found = format!(
            "{} of {REQUESTS} got status 200, a late one {} ({}), drain outcome {outcome:?}, {} permits left",
            count(&responses, 200),
            late.0,
            late.1.as_deref().unwrap_or("no error"),
            inflight.0,
        );
        let pass = count(&responses, 200) == REQUESTS
            && late == (503, Some("draining".into()))
            && outcome == DrainOutcome::Complete
            && inflight.0 == 0;
        if pass { Ok(found) } else { Err(found) }
    })
}

/// The gate of the model never opens.
fn times_out<F: Future<Output = DrainOutcome>>(
    drain: &impl Fn(Arc<AppState>, Duration) -> F,
) -> Result<String, String> {
    let model = GatedModel::new()?;
    let server = InProcessServer::open(model.clone())?;
    let state = &server.state;
    server.runtime.block_on(async {
        let requests = start_requests(&server, &model).await?;
        let started = Instant::now();
        let outcome = tokio::time::timeout(DEADLINE + SLACK, drain(Arc::clone(state), DEADLINE)).await;
        let time = started.elapsed();
        model.gate().open |= outcome.is_err();
        let responses = responses(requests).await?;
        let permits = state.admission.inflight().0;
        let found = format!(
            "of work that does not end {} got status 503 after {} ms, {permits} permits left",
            count(&responses, 503),
            time.as_millis()
        );
        let pass = outcome == Ok(DrainOutcome::TimedOut { aborted: REQUESTS })
            && count(&responses, 503) == REQUESTS
            && permits == 0;
        if pass { Ok(found) } else { Err(format!("{found}; drain outcome {outcome:?}")) }
    })
}

type Requests = Vec<tokio::task::JoinHandle<Response>>;

async fn start_requests(server: &InProcessServer, model: &GatedModel) -> Result<Requests, String> {
    let requests: Requests = (0..REQUESTS).map(|_| tokio::spawn(server.embed(body()))).collect();
    let in_flight = || server.state.admission.inflight().0 == REQUESTS && model.gate().begun > 0;
    InProcessServer::wait_until("all requests are in flight and a batch is being computed", in_flight)
        .await?;
    Ok(requests)
}

async fn responses(requests: Requests) -> Result<Vec<Response>, String> {
    let mut responses = Vec::new();
    for request in requests {
        let response = tokio::time::timeout(TIME_MAX, request).await;
        let response = response.map_err(|_| "a request got no response".to_string())?;
        responses.push(response.map_err(|error| format!("a request ended without a response: {error}"))?);
    }
    Ok(responses)
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckStatus;
    use super::*;

    #[track_caller]
    fn fails<F: Future<Output = DrainOutcome>>(drain: impl Fn(Arc<AppState>, Duration) -> F, found: &str) {
        let result = check(drain);
        assert_eq!(result.status, CheckStatus::Fail, "{}", result.found);
        assert!(result.found.contains(found), "{}", result.found);
    }

    #[test]
    fn passes_for_the_real_drain() {
        let result = in_time();
        assert_eq!(result.status, CheckStatus::Pass, "{}", result.found);
    }

    #[test]
    fn fails_for_a_drain_that_does_not_wait() {
        let drain = |state: Arc<AppState>, _| async move {
            state.admission.drain();
            state.scheduler.stop();
            DrainOutcome::Complete
        };
        fails(drain, "0 of 8 got status 200");
    }

    #[test]
    fn fails_for_a_drain_that_admits_requests() {
        let drain = |state: Arc<AppState>, _| async move {
            while state.admission.inflight().0 > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            DrainOutcome::Complete
        };
        fails(drain, "a late one 200");
    }

    #[test]
    fn fails_for_a_drain_without_a_deadline() {
        let drain = |state: Arc<AppState>, _| async move {
            state.admission.drain();
            while state.admission.inflight().0 > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            DrainOutcome::Complete
        };
        fails(drain, "0 got status 503");
    }
}
