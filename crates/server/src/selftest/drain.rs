//! A server that is told to end answers everybody who was let in, tells 503 to others, and ends in time even when the work does
//! not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Outcome;
use super::rehearsal::{Answer, Gated, Rehearsal, TIME_MAX};
use crate::serve::Drained;
use crate::serve::app::App;
use crate::serve::server;

const REQUESTS: usize = 8;
/// Of the drain that finds work which does not end.
const DEADLINE: Duration = Duration::from_millis(50);
/// After this the gate opens, whether the late request has its answer or not.
const REFUSAL_TIME_MAX: Duration = Duration::from_secs(1);
/// Above the deadline, for a loaded machine.
const SLACK: Duration = Duration::from_secs(5);

pub fn in_time() -> Outcome {
    check(|app, time_max| async move { server::settle(&app, time_max).await })
}

fn check<F: Future<Output = Drained>>(settle: impl Fn(Arc<App>, Duration) -> F) -> Outcome {
    let expected = format!(
        "{REQUESTS} requests in flight are answered 200 and a late one 503 `draining`; work that does not end is told 503 after \
         {} ms, no permit is left",
        DEADLINE.as_millis()
    );
    match finish(&settle).and_then(|finished| Ok(format!("{finished}; {}", cut(&settle)?))) {
        Ok(found) => Outcome::judge(true, expected, found),
        Err(why) => Outcome::judge(false, expected, why),
    }
}

fn body() -> String {
    serde_json::json!({ "input": ["hello world", "a second text"] }).to_string()
}

fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.0 == status).count()
}

/// The gate opens while the server drains.
fn finish<F: Future<Output = Drained>>(settle: &impl Fn(Arc<App>, Duration) -> F) -> Result<String, String> {
    let model = Gated::new()?;
    let rehearsal = Rehearsal::open(model.clone())?;
    let app = &rehearsal.app;
    rehearsal.runtime.block_on(async {
        let inside = in_flight(&rehearsal, &model).await?;
        let drain = settle(Arc::clone(app), TIME_MAX);
        let late = async {
            // After the drain's first step: it is polled first.
            tokio::task::yield_now().await;
            let mut late = std::pin::pin!(rehearsal.embed(body()));
            let told = tokio::time::timeout(REFUSAL_TIME_MAX, &mut late).await;
            // One that was let in waits at the gate like the others.
            model.gate().open = true;
            match told {
                Ok(answer) => answer,
                Err(_) => late.await,
            }
        };
        let late = async { tokio::time::timeout(TIME_MAX, late).await };
        let (drained, late) = tokio::join!(tokio::time::timeout(TIME_MAX, drain), late);
        model.gate().open = true;
        let drained = drained.map_err(|_| "the drain did not end".to_string())?;
        let held = app.admission.held();
        let answers = answers(inside).await?;
        let late = late.map_err(|_| "a late request was not answered".to_string())?;
        let found = format!(
            "{} of {REQUESTS} answered, a late one told {} ({}), drained as {drained:?}, {} permits left",
            count(&answers, 200),
            late.0,
            late.1.as_deref().unwrap_or("no error"),
            held.0,
        );
        let pass = count(&answers, 200) == REQUESTS
            && late == (503, Some("draining".into()))
            && drained == Drained::Clean
            && held.0 == 0;
        if pass { Ok(found) } else { Err(found) }
    })
}

/// The gate never opens.
fn cut<F: Future<Output = Drained>>(settle: &impl Fn(Arc<App>, Duration) -> F) -> Result<String, String> {
    let model = Gated::new()?;
    let rehearsal = Rehearsal::open(model.clone())?;
    let app = &rehearsal.app;
    rehearsal.runtime.block_on(async {
        let inside = in_flight(&rehearsal, &model).await?;
        let started = Instant::now();
        let drained = tokio::time::timeout(DEADLINE + SLACK, settle(Arc::clone(app), DEADLINE)).await;
        let time = started.elapsed();
        let ended = drained.is_ok();
        model.gate().open |= !ended;
        let answers = answers(inside).await?;
        let left = app.admission.held().0;
        let found = format!(
            "of work that does not end {} told 503 after {} ms, {left} permits left",
            count(&answers, 503),
            time.as_millis()
        );
        let pass = drained == Ok(Drained::Cut { requests: REQUESTS })
            && count(&answers, 503) == REQUESTS
            && left == 0;
        if pass { Ok(found) } else { Err(format!("{found}; drained as {drained:?}")) }
    })
}

type Requests = Vec<tokio::task::JoinHandle<Answer>>;

async fn in_flight(rehearsal: &Rehearsal, model: &Gated) -> Result<Requests, String> {
    let requests: Requests = (0..REQUESTS).map(|_| tokio::spawn(rehearsal.embed(body()))).collect();
    let app = &rehearsal.app;
    let in_flight = || app.admission.held().0 == REQUESTS && model.gate().begun > 0;
    Rehearsal::until("all requests are in flight and a batch is being computed", in_flight).await?;
    Ok(requests)
}

async fn answers(requests: Requests) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    for request in requests {
        let answer = tokio::time::timeout(TIME_MAX, request).await;
        let answer = answer.map_err(|_| "a request was never answered".to_string())?;
        answers.push(answer.map_err(|error| format!("a request ended without an answer: {error}"))?);
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[track_caller]
    fn fails<F: Future<Output = Drained>>(settle: impl Fn(Arc<App>, Duration) -> F, found: &str) {
        let outcome = check(settle);
        assert_eq!(outcome.verdict, Verdict::Fail, "{}", outcome.found);
        assert!(outcome.found.contains(found), "{}", outcome.found);
    }

    #[test]
    fn the_real_drain_passes() {
        let outcome = in_time();
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.found);
    }

    #[test]
    fn a_drain_that_waits_for_nobody_is_caught() {
        let settle = |app: Arc<App>, _| async move {
            app.admission.drain();
            app.scheduler.stop();
            Drained::Clean
        };
        fails(settle, "0 of 8 answered");
    }

    #[test]
    fn a_drain_that_still_lets_people_in_is_caught() {
        let settle = |app: Arc<App>, _| async move {
            while app.admission.held().0 > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Drained::Clean
        };
        fails(settle, "a late one told 200");
    }

    #[test]
    fn a_drain_without_a_deadline_is_caught() {
        let settle = |app: Arc<App>, _| async move {
            app.admission.drain();
            while app.admission.held().0 > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Drained::Clean
        };
        fails(settle, "0 told 503");
    }
}
