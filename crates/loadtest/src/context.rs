//! What the scenarios of a run have in common.

use std::path::Path;
use std::time::Duration;

use process::Runner;

/// The server under test and the size of the load.
pub struct Context<'a> {
    /// The server's program.
    pub binary: &'a Path,
    /// The model folder.
    pub model: &'a Path,
    /// ID of the server's image in the container engine; needed by the scenario `container`.
    pub image: Option<&'a str>,
    /// Concurrent clients of an overload.
    pub clients: usize,
    /// Time of a scenario with [`Time::Chosen`](crate::Time::Chosen).
    pub duration: Duration,
    /// Number of requests that the scenario `malformed` generates, and of connections for its bytes.
    pub requests: usize,
    /// The same seed gives the same requests.
    pub seed: u64,
    /// Runs container commands, reports progress, and ends the load after a signal.
    pub runner: &'a Runner,
}

impl Context<'_> {
    /// The value of `--model`: `NAME=DIR`.
    pub fn model_argument(&self) -> String {
        format!("minilm={}", self.model.display())
    }
}
