//! The life of the process: serves until SIGTERM or SIGINT, drains, and stops at once at the second; reloads at SIGHUP.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::log::Level;
use super::server::{Drained, Server};
use crate::failure::Failure;

const EXIT_CUT: u8 = 2;

struct Stop {
    term: Signal,
    int: Signal,
}

impl Stop {
    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

/// Returns when the server has ended. Exit code 2 when requests had to be cut off.
pub fn run(server: Server, drain_timeout: Duration) -> Result<ExitCode, Failure> {
    let (app, options) = server.shared();
    let listen =
        |kind| signal(kind).map_err(|error| Failure::new(error).context("cannot listen for signals"));
    let (mut stop, mut hangup) = {
        let _inside = server.runtime.enter();
        let stop = Stop { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? };
        (stop, listen(SignalKind::hangup())?)
    };
    let reloading = Arc::new(AtomicBool::new(false));
    server.runtime.block_on(async {
        let signal = loop {
            tokio::select! {
                signal = stop.wait() => break signal,
                _ = hangup.recv() => {
                    // One at a time: a second one while the first loads would load the same files.
                    if reloading.swap(true, Ordering::AcqRel) {
                        app.log.write(Level::Warn, "reload_skipped", &[("why", "a reload is under way".into())]);
                        continue;
                    }
                    let (app, options, reloading) = (Arc::clone(&app), Arc::clone(&options), Arc::clone(&reloading));
                    tokio::spawn(async move {
                        let _ = Server::reload(&app, &options).await;
                        reloading.store(false, Ordering::Release);
                    });
                }
            }
        };
        let time = format!("{} s", drain_timeout.as_secs_f64());
        app.log.info("draining", &[("signal", signal.into()), ("within", time)]);
    });
    server.runtime.spawn(async move {
        let signal = stop.wait().await;
        app.log.write(Level::Warn, "stopped", &[("outcome", format!("a second signal ({signal})"))]);
        tokio::time::sleep(Duration::from_millis(20)).await;
        // SAFETY: _exit takes no memory and does not return. An orderly exit would wait for the work that the second
        // signal is meant not to wait for.
        unsafe { libc::_exit(EXIT_CUT.into()) }
    });
    match server.drain(drain_timeout) {
        Drained::Clean => Ok(ExitCode::SUCCESS),
        Drained::Cut { .. } => Ok(ExitCode::from(EXIT_CUT)),
    }
}
