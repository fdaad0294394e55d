//! Clients that use every endpoint, with pauses: the load that must not notice spikes and attacks except for 429 and 503.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::http_client::Client;
use crate::rng::Rng;
use crate::traffic::Outcomes;

pub const CLIENTS: usize = 6;
/// Longest pause between two requests of a client.
const PAUSE_MS_MAX: usize = 120;
const TIMEOUT: Duration = Duration::from_mins(1);
/// A connection is used for so many requests on average.
const REQUESTS_PER_CONNECTION: usize = 20;

/// Path and body; without a body the method is GET.
type Request = (&'static str, Option<String>);

/// Requests until `is_done`.
pub fn client(address: SocketAddr, number: u64, is_done: &AtomicBool) -> Outcomes {
    let requests = requests();
    let mut rng = Rng::new(1, number);
    let mut outcomes = Outcomes::default();
    let mut client = Client::new(address, TIMEOUT);
    while !is_done.load(Ordering::Relaxed) {
        let (path, body) = rng.pick(&requests);
        let sent = Instant::now();
        let response = match body {
            Some(body) => client.post(path, body.as_bytes()),
            None => client.get(path),
        };
        outcomes.record(response, sent.elapsed());
        if rng.one_in(REQUESTS_PER_CONNECTION) {
            client = Client::new(address, TIMEOUT);
        }
        std::thread::sleep(Duration::from_millis(rng.below(PAUSE_MS_MAX) as u64));
    }
    outcomes
}

fn requests() -> Vec<Request> {
    let text = "a quiet harbour carries light over seven old bridges and fields";
    let texts = vec![format!("{text:?}"); 16].join(",");
    let long = format!("{text} ").repeat(60);
    vec![
        ("/v1/embeddings", Some(format!("{{\"input\":{text:?}}}"))),
        ("/v1/embeddings", Some(format!("{{\"input\":[{texts}]}}"))),
        (
            "/v1/embeddings",
            Some(format!("{{\"input\":[{texts}],\"encoding_format\":\"base64\",\"dimensions\":64}}")),
        ),
        ("/v1/embeddings", Some(format!("{{\"input\":{long:?}}}"))),
        ("/v1/infer", Some(format!("{{\"task\":\"similarity\",\"source\":{text:?},\"targets\":[{texts}]}}"))),
        (
            "/v1/rerank",
            Some(format!(
                "{{\"query\":{text:?},\"documents\":[{texts}],\"top_n\":3,\"return_documents\":true}}"
            )),
        ),
        ("/tokenize", Some(format!("{{\"inputs\":[{texts}]}}"))),
        ("/v1/models", None),
        ("/openapi.json", None),
        ("/", None),
        ("/healthz", None),
        ("/readyz", None),
    ]
}
