//! SIGTERM under load: accepted requests are answered, later ones are rejected with 503, no connection is reset.

use std::path::Path;
use std::time::Duration;

use process::Runner;

use crate::server::Server;
use crate::traffic::{Outcomes, Traffic};
use crate::{DRAIN_DEADLINE, DRAIN_LOST_REQUEST, DRAIN_NOT_UNDER_LOAD, ScenarioCheck};

const CLIENTS: usize = 100;
const REQUESTS_PER_SECOND: f64 = 400.0;
/// Load before and after the signal.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(2);
const DEADLINE_SECONDS: u64 = 10;
/// Beyond the deadline: the last response and the closing of connections.
const SLACK: Duration = Duration::from_secs(3);

pub fn run(
    binary: &Path,
    model: &str,
    bodies: &[Vec<u8>],
    runner: &Runner,
) -> anyhow::Result<Vec<ScenarioCheck>> {
    let deadline = format!("{DEADLINE_SECONDS} s");
    let arguments = ["--model", model, "--max-inflight", "64", "--drain-timeout", &deadline];
    let mut server = Server::start(binary, &arguments)?;
    let traffic = Traffic {
        address: server.address(),
        clients: CLIENTS,
        duration: BEFORE + AFTER,
        rate: Some(REQUESTS_PER_SECOND),
        bodies,
        runner,
    };
    let (outcomes, exit) = std::thread::scope(|scope| {
        let clients = scope.spawn(|| traffic.run());
        std::thread::sleep(BEFORE);
        let exit =
            server.signal("TERM").and_then(|()| server.wait(Duration::from_secs(DEADLINE_SECONDS) + SLACK));
        (clients.join(), exit)
    });
    let outcomes = outcomes.map_err(|_| anyhow::anyhow!("the client threads panicked"))?;
    Ok(judge(&outcomes, exit?))
}

/// `exit` is the exit code and the time since the signal; `None` while the server runs.
fn judge(outcomes: &Outcomes, exit: Option<(i32, Duration)>) -> Vec<ScenarioCheck> {
    let unexpected = outcomes.unexpected(&[200, 429, 503]);
    let (accepted, throttled, draining) = (outcomes.count(200), outcomes.count(429), outcomes.count(503));
    let first_lost = outcomes.lost.first().map(|reason| format!(" ({reason})")).unwrap_or_default();
    vec![
        ScenarioCheck::new(
            &DRAIN_LOST_REQUEST,
            "every request is answered",
            unexpected.is_empty() && outcomes.lost.is_empty() && accepted > 0,
            "200, 429 or 503 for each request that reached the server",
            format!(
                "{accepted} accepted (200), {throttled} throttled (429), {draining} rejected (503), {} after the exit, \
                 {} lost{first_lost}, other statuses {unexpected:?}",
                outcomes.not_connected,
                outcomes.lost.len(),
            ),
        ),
        ScenarioCheck::new(
            &DRAIN_NOT_UNDER_LOAD,
            "the drain happens under load",
            draining > 0 && outcomes.not_connected > 0,
            "requests before, during and after the drain",
            format!("{draining} during, {} after", outcomes.not_connected),
        ),
        ScenarioCheck::new(
            &DRAIN_DEADLINE,
            "exit within the deadline",
            matches!(exit, Some((0, _))),
            format!("exit code 0 within {DEADLINE_SECONDS} s"),
            match exit {
                Some((code, time)) => format!("exit code {code} after {:.2} s", time.as_secs_f64()),
                None => "still running".into(),
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violated(change: impl FnOnce(&mut Outcomes), exit: Option<(i32, Duration)>) -> Vec<String> {
        let mut outcomes = Outcomes { not_connected: 3, ..Outcomes::default() };
        outcomes.seconds_by_status.insert(200, vec![0.1; 10]);
        outcomes.seconds_by_status.insert(503, vec![0.1; 10]);
        change(&mut outcomes);
        let checks = judge(&outcomes, exit);
        checks.iter().filter(|check| !check.passed()).map(|check| check.name().to_string()).collect()
    }

    #[test]
    fn each_violation_is_reported_by_its_own_check() {
        let exit = Some((0, Duration::from_secs(1)));
        assert_eq!(violated(|_| (), exit), [""; 0]);
        assert_eq!(violated(|o| o.lost.push("reset".into()), exit), ["every request is answered"]);
        assert_eq!(
            violated(|o| drop(o.seconds_by_status.insert(500, vec![0.1])), exit),
            ["every request is answered"]
        );
        assert_eq!(violated(|o| o.not_connected = 0, exit), ["the drain happens under load"]);
        assert_eq!(
            violated(|o| drop(o.seconds_by_status.remove(&503)), exit),
            ["the drain happens under load"]
        );
        for exit in [None, Some((1, Duration::ZERO)), Some((137, Duration::ZERO))] {
            assert_eq!(violated(|_| (), exit), ["exit within the deadline"]);
        }
    }
}
