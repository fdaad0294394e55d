//! One request with more tokens than the limit: it must be refused before its tokens take memory.

use std::path::Path;
use std::time::Duration;

use crate::http_client::Client;
use crate::process_memory::{MIB, Resident, peak_during};
use crate::server::Server;
use crate::{BOUNDED_MEMORY, FAULT_RESPONSE, ScenarioCheck};

const TEXTS: usize = 63;
const WORDS: usize = 65_535;
const GROWTH_MIB_MAX: f64 = 16.0;
const TIMEOUT: Duration = Duration::from_mins(1);

pub fn run(binary: &Path, model: &str) -> anyhow::Result<Vec<ScenarioCheck>> {
    let server = Server::start(binary, &["--model", model])?;
    let mut client = Client::new(server.address(), TIMEOUT);
    let _ = client.post("/tokenize", br#"{"inputs":"a"}"#);
    let idle = Resident::read(&server)?;
    let text = format!("{:?}", "a ".repeat(WORDS));
    let body = format!("{{\"inputs\":[{}]}}", vec![text; TEXTS].join(","));
    let (response, peak) = peak_during(&server, || client.post("/tokenize", body.as_bytes()))?;
    let (status, message) = match response {
        Ok(response) => (response.status, String::from_utf8_lossy(&response.body).into_owned()),
        Err(error) => (0, error.to_string()),
    };
    let growth = (peak.total - idle.total) / MIB;
    Ok(vec![
        ScenarioCheck::new(
            &FAULT_RESPONSE,
            "more tokens than the limit",
            status == 400 && message.contains("tokens"),
            "400 that names the limit",
            format!("{status} {}", message.chars().take(200).collect::<String>()),
        ),
        ScenarioCheck::new(
            &BOUNDED_MEMORY,
            "memory of a refused request",
            growth < GROWTH_MIB_MAX,
            format!("less than {GROWTH_MIB_MAX} MiB above idle"),
            format!("{growth:.1} MiB above idle ({:.1} MiB)", idle.total / MIB),
        ),
    ])
}
