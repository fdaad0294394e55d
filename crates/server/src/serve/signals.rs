//! Signals: SIGTERM and SIGINT drain the server, a second one ends the process at once, SIGHUP reloads.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use diag::Diagnostic;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::drain::DrainOutcome;
use super::reload::{ReloadGate, reload_and_log};
use super::server::Server;
use crate::{codes, log};

const EXIT_ABORTED: u8 = 2;
/// Time for the last line of the log when the process ends at once.
const LOG_FLUSH_TIME_MAX: Duration = Duration::from_millis(200);

/// The signals of a server. From their registration on they wait, and no longer end the process.
pub struct Signals {
    termination: Termination,
    hangup: Signal,
}

impl Signals {
    /// Registers all of them. To be called in a runtime.
    pub fn register() -> Result<Self, Diagnostic> {
        let termination =
            Termination { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? };
        Ok(Self { termination, hangup: listen(SignalKind::hangup())? })
    }
}

struct Termination {
    term: Signal,
    int: Signal,
}

impl Termination {
    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

fn listen(kind: SignalKind) -> Result<Signal, Diagnostic> {
    signal(kind).map_err(|error| codes::caused(&codes::SYSTEM_RESOURCE, "cannot handle signals", &error))
}

/// Serves until a signal; returns when the server has ended. Exit code 2 when the drain timed out.
pub fn run_until_signal(
    server: Server,
    signals: Signals,
    drain_timeout: Duration,
) -> Result<ExitCode, Diagnostic> {
    let (state, options) = (Arc::clone(&server.state), Arc::clone(&server.options));
    let Signals { mut termination, mut hangup } = signals;
    let gate = ReloadGate::default();
    server.runtime.block_on(async {
        let signal = loop {
            tokio::select! {
                signal = termination.wait() => break signal,
                _ = hangup.recv() => {
                    // One reload at a time: a second one would load the same files.
                    let Some(permit) = gate.enter() else {
                        tracing::warn!(reason = %"another reload is running", "reload_skipped");
                        continue;
                    };
                    tokio::spawn(reload_and_log(Arc::clone(&state), Arc::clone(&options), permit));
                }
            }
        };
        tracing::info!(signal = %signal, timeout_s = drain_timeout.as_secs_f64(), "draining");
    });
    server.runtime.spawn(async move {
        let signal = termination.wait().await;
        tracing::warn!(outcome = %"a second signal", signal = %signal, "stopped");
        log::flush(LOG_FLUSH_TIME_MAX);
        // SAFETY: _exit has no preconditions and does not return. A regular exit would wait for the work that the
        // second signal aborts.
        unsafe { libc::_exit(EXIT_ABORTED.into()) }
    });
    match server.drain(drain_timeout) {
        DrainOutcome::Complete => Ok(ExitCode::SUCCESS),
        DrainOutcome::TimedOut { .. } => Ok(ExitCode::from(EXIT_ABORTED)),
    }
}
