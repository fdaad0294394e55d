//! SIGTERM in mid-load: whoever was let in is answered, whoever comes late is told 503, nobody is dropped.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::findings::Findings;
use super::server::Server;
use super::traffic::Traffic;

const CLIENTS: usize = 100;
const BEFORE: Duration = Duration::from_secs(3);
const DEADLINE_S: u64 = 10;
/// Beyond the deadline: the last call and closing of connections.
const SLACK: Duration = Duration::from_secs(3);

pub fn run(
    binary: &Path,
    model: &str,
    bodies: &[Vec<u8>],
    stop: &AtomicBool,
    findings: &mut Findings,
) -> anyhow::Result<()> {
    let deadline = format!("{DEADLINE_S} s");
    let mut server =
        Server::start(binary, &["--model", model, "--queue", "64", "--drain-timeout", &deadline])?;
    let traffic = Traffic {
        address: server.address,
        clients: CLIENTS,
        time: BEFORE + Duration::from_secs(2),
        rate: Some(400.0),
        bodies,
        stop,
    };
    let (tally, ended) = std::thread::scope(|scope| {
        let clients = scope.spawn(|| traffic.run());
        std::thread::sleep(BEFORE);
        let ended = server.signal("TERM").and_then(|()| server.wait(Duration::from_secs(DEADLINE_S) + SLACK));
        (clients.join(), ended)
    });
    let tally = tally.map_err(|_| anyhow::anyhow!("the clients panicked"))?;
    let ended = ended?;
    let others = tally.others(&[200, 429, 503]);
    findings.add(
        "every accepted request is answered",
        others.is_empty() && tally.lost.is_empty() && tally.count(200) > 0,
        "200, 429 or 503 for each request that reached the server",
        format!(
            "{} answered, {} told 429, {} told 503, {} came after the end, {} lost{}, others {others:?}",
            tally.count(200),
            tally.count(429),
            tally.count(503),
            tally.not_connected,
            tally.lost.len(),
            tally.lost.first().map(|why| format!(" ({why})")).unwrap_or_default(),
        ),
    );
    findings.add(
        "it was in mid-load",
        tally.count(503) > 0 && tally.not_connected > 0,
        "requests before, during and after the drain: else this run proves nothing",
        format!("{} during, {} after", tally.count(503), tally.not_connected),
    );
    findings.add(
        "the end comes within the deadline",
        matches!(ended, Some((0, _))),
        format!("exit code 0 within {DEADLINE_S} s"),
        match ended {
            Some((code, time)) => format!("exit code {code} after {:.2} s", time.as_secs_f64()),
            None => "still running".into(),
        },
    );
    Ok(())
}
