//! A panic during a reload. Alone in its file: it sends signals to its own process.

mod fake_model;
mod http_client;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use engine::{Cancel, EngineError, IdleSignal, TextCursor, Token};
use fake_model::{address, options, wait_until};
use http_client::{get, post};
use inferd::serve::{Loader, Model, Server, Shape, run_until_signal};

/// Panics when the reload drops it, the first time.
struct PanicsWhenDropped(Arc<AtomicBool>);

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        assert!(!self.0.swap(false, Ordering::SeqCst), "an intended panic");
    }
}

impl Model for PanicsWhenDropped {
    fn shape(&self) -> Shape {
        Shape { dimension: 1, tokens_max: 8, vocabulary: 8 }
    }

    fn next_ids(&self, _: &str, cursor: &mut TextCursor, ids: &mut Vec<u32>) -> Result<(), EngineError> {
        ids.push(1);
        cursor.finish();
        Ok(())
    }

    fn next_tokens(
        &self,
        _: &str,
        _: bool,
        cursor: &mut TextCursor,
        _: &mut Vec<Token>,
    ) -> Result<(), EngineError> {
        cursor.finish();
        Ok(())
    }

    fn token_name(&self, _: u32) -> Option<String> {
        None
    }

    fn step(&self, batch: &[Vec<u32>], _: &Cancel, _: &IdleSignal) -> Result<Vec<Vec<f32>>, EngineError> {
        Ok(vec![vec![1.0]; batch.len()])
    }
}

#[test]
fn the_next_reload_after_a_panic_runs() {
    let panics = Arc::new(AtomicBool::new(true));
    let loader: Loader = Arc::new(move |_: &str, _: &Path| {
        Ok(Arc::new(PanicsWhenDropped(Arc::clone(&panics))) as Arc<dyn Model>)
    });
    let server = Server::open_with(options(), loader).unwrap();
    let at = address(&server);
    let signals = server.register_signals().unwrap();
    let running = std::thread::spawn(move || run_until_signal(server, signals, Duration::from_secs(5)));
    assert_eq!(post(at, "/v1/embeddings", r#"{"input":"a"}"#).status, 200);
    let process = std::process::id().cast_signed();
    let send = |signal| {
        // SAFETY: raises a signal that the server handles: it is registered.
        assert_eq!(unsafe { libc::kill(process, signal) }, 0);
    };
    let reloads = |outcome: &str, count: u32| {
        let line = format!("inferd_reloads_total{{outcome=\"{outcome}\"}} {count}");
        wait_until(&line, || get(at, "/metrics").text().contains(&line));
    };
    send(libc::SIGHUP);
    reloads("failed", 1);
    send(libc::SIGHUP);
    reloads("ok", 1);
    assert_eq!(post(at, "/v1/embeddings", r#"{"input":"a"}"#).status, 200);
    send(libc::SIGTERM);
    assert_eq!(running.join().unwrap(), Ok(std::process::ExitCode::SUCCESS));
}
