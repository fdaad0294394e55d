//! Spikes and attacks of a soak. Each is bounded in clients and time and leaves no connection.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::http_client::{Client, post_request};
use crate::traffic::Outcomes;

/// What a client does to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Many large requests on many connections.
    Spike,
    /// Requests whose responses are not read.
    UnreadResponses,
    /// Heads of requests that announce a large body.
    SlowBodies,
    IdleConnections,
    /// Long texts for the tokenizer.
    TokenizeFlood,
}

/// One in each period, in this order.
pub const ATTACKS: [Disturbance; 4] = [
    Disturbance::UnreadResponses,
    Disturbance::SlowBodies,
    Disturbance::IdleConnections,
    Disturbance::TokenizeFlood,
];

const TIMEOUT: Duration = Duration::from_mins(1);
const SPIKE_CLIENTS: usize = 32;
const TOKENIZE_CLIENTS: usize = 8;
const UNREAD_RESPONSES: usize = 32;
const SLOW_BODIES: usize = 64;
const IDLE_CONNECTIONS: usize = 300;
const STACK_BYTES: usize = 256 << 10;

impl Disturbance {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spike => "spike",
            Self::UnreadResponses => "unread responses",
            Self::SlowBodies => "slow bodies",
            Self::IdleConnections => "idle connections",
            Self::TokenizeFlood => "tokenize flood",
        }
    }

    /// Runs it for this time. What an attacker is answered is no promise, but a spike consists of valid requests.
    pub fn run(self, address: SocketAddr, time: Duration) -> Outcomes {
        let end = Instant::now() + time;
        let hold = |count: usize, bytes: &[u8]| {
            let connections: Vec<_> = (0..count).filter_map(|_| open(address, bytes)).collect();
            std::thread::sleep(end.saturating_duration_since(Instant::now()));
            drop(connections);
            Outcomes::default()
        };
        let list = |text: &str, count: usize| vec![format!("{text:?}"); count].join(",");
        match self {
            Self::Spike => {
                let text = "the engine of a quiet harbour carries light over stone ".repeat(4);
                let body = format!("{{\"input\":[{}]}}", list(&text, 16));
                flood(address, SPIKE_CLIENTS, "/v1/embeddings", body.as_bytes(), end)
            }
            Self::TokenizeFlood => {
                let body = format!("{{\"inputs\":{:?}}}", "a b ".repeat(25_000));
                flood(address, TOKENIZE_CLIENTS, "/tokenize", body.as_bytes(), end);
                Outcomes::default()
            }
            Self::UnreadResponses => {
                let body = format!("{{\"input\":[{}]}}", list("a", 512));
                hold(UNREAD_RESPONSES, &post_request("/v1/embeddings", body.as_bytes()))
            }
            Self::SlowBodies => hold(
                SLOW_BODIES,
                b"POST /v1/embeddings HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 8388608\r\n\r\n",
            ),
            Self::IdleConnections => hold(IDLE_CONNECTIONS, b""),
        }
    }
}

fn open(address: SocketAddr, bytes: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).ok()?;
    stream.write_all(bytes).ok()?;
    Some(stream)
}

/// Clients that send the same request again and again.
fn flood(address: SocketAddr, clients: usize, path: &str, body: &[u8], end: Instant) -> Outcomes {
    let all = Mutex::new(Outcomes::default());
    std::thread::scope(|scope| {
        for _ in 0..clients {
            let client = || {
                let mut client = Client::new(address, TIMEOUT);
                let mut outcomes = Outcomes::default();
                while Instant::now() < end {
                    let sent = Instant::now();
                    let response = client.post(path, body);
                    let is_rejected = response.as_ref().is_ok_and(|response| response.status != 200);
                    outcomes.record(response, sent.elapsed());
                    if is_rejected {
                        // A client that ignores `Retry-After`, but does not only measure how fast the server rejects.
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                if let Ok(mut all) = all.lock() {
                    all.merge(outcomes);
                }
            };
            // Fewer clients are a smaller disturbance, not an error.
            let _ = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, client);
        }
    });
    all.into_inner().unwrap_or_default()
}
