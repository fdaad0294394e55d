//! The signals of a server: SIGTERM and SIGINT end it, SIGHUP reloads.

use diag::Diagnostic;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::codes;

/// The signals of a server. From their registration on they wait, and no longer end the process.
pub struct Signals {
    pub(super) termination: Termination,
    pub(super) hangup: Signal,
}

impl Signals {
    /// Registers all of them. To be called in a runtime.
    pub fn register() -> Result<Self, Diagnostic> {
        let termination =
            Termination { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? };
        Ok(Self { termination, hangup: listen(SignalKind::hangup())? })
    }
}

/// The signals that end the server.
pub struct Termination {
    term: Signal,
    int: Signal,
}

impl Termination {
    /// Waits for one of them; returns its name.
    pub async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Diagnostic> {
    signal(kind).map_err(|error| codes::caused(&codes::SYSTEM_RESOURCE, "cannot handle signals", &error))
}
