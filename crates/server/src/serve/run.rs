//! Runs a server until a signal: SIGTERM and SIGINT drain it, a second one ends the process at once, SIGHUP reloads.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use diag::Diagnostic;

use super::drain::DrainOutcome;
use super::reload::{ReloadGate, reload_and_log};
use super::server::Server;
use super::signals::Signals;
use crate::log;

const EXIT_ABORTED: u8 = 2;
/// Time for the last line of the log when the process ends at once.
const LOG_FLUSH_TIME_MAX: Duration = Duration::from_millis(200);

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
