//! A client beside an attack: its requests must be served.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::http_client::Client;
use crate::{CLIENT_BLOCKED, ScenarioCheck};

/// Its address; attackers use others.
pub const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Sends requests for `time`, with a body of at least `body_bytes` each, on a new connection each. The check holds when
/// every one gets 200.
pub fn is_served(
    name: &str,
    server: SocketAddr,
    source: IpAddr,
    body_bytes: usize,
    time: Duration,
) -> ScenarioCheck {
    // The padding is JSON white space: it costs bytes and no computing.
    let body = format!("{{\"input\":\"a valid request\"{}}}", " ".repeat(body_bytes));
    let (started, mut sent, mut failures) = (Instant::now(), 0, Vec::new());
    let mut slowest = Duration::ZERO;
    while started.elapsed() < time {
        let mut client = Client::from_source(server, source, TIMEOUT);
        let began = Instant::now();
        let response = client.post("/v1/embeddings", body.as_bytes());
        slowest = slowest.max(began.elapsed());
        sent += 1;
        match response {
            Ok(response) if response.status == 200 => {}
            Ok(response) => failures.push(response.status.to_string()),
            Err(error) => failures.push(error.to_string()),
        }
        std::thread::sleep(PAUSE);
    }
    let first = failures.first().map(|failure| format!(", first: {failure}")).unwrap_or_default();
    ScenarioCheck::new(
        &CLIENT_BLOCKED,
        name,
        failures.is_empty() && sent > 0,
        "every request of the second client gets 200",
        format!("{} of {sent} failed{first}; slowest {:.2} s", failures.len(), slowest.as_secs_f64()),
    )
}

/// Numbered addresses of loopback, none of them the victim's.
pub fn attacker(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, number).into()
}
