use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::http_client::{Client, RequestError};

/// Time limit of a probe.
pub const TIMEOUT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// Whether a valid request gets 200.
pub fn is_healthy(address: SocketAddr) -> bool {
    let response = Client::new(address, TIMEOUT).post("/v1/embeddings", br#"{"input":"a valid request"}"#);
    matches!(response, Ok(response) if response.status == 200)
}

/// The status of a GET request.
pub fn status(address: SocketAddr, path: &str) -> Result<u16, RequestError> {
    Client::new(address, TIMEOUT).get(path).map(|response| response.status)
}

/// Polls until the condition holds or the time is over; returns whether it holds.
pub fn wait_until(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + timeout;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(POLL);
    }
}
