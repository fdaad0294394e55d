//! A model that blocks, panics and counts as a test needs, and an in-process server with it.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::{Cancel, EngineError, IdleSignal, TextCursor, Token};
use inferd::serve::{
    AdmissionLimits, Backends, BatchSettings, ConnectionLimits, Listen, Loader, Model, OptionSources,
    Options, RequestLimits, Server, Shape,
};

/// A model of 4 dimensions. Each word of a text is one token; the vector is [words, sequences of the batch, 0, 1].
#[derive(Default)]
pub struct Fake {
    /// Allows one step at a time. Otherwise a step reports an idle worker at its start.
    pub one_step_at_a_time: bool,
    /// While set, a step ends only when it is cancelled.
    pub blocked: AtomicBool,
    pub steps: AtomicUsize,
    pub cancelled_steps: AtomicUsize,
    /// The lengths of the sequences of each batch.
    pub batches: Mutex<Vec<Vec<usize>>>,
}

/// A step with this token panics.
pub const PANICS: u32 = 13;

impl Model for Fake {
    fn shape(&self) -> Shape {
        Shape { dimension: 4, tokens_max: 256, vocabulary: 1000 }
    }

    fn next_ids(&self, text: &str, cursor: &mut TextCursor, ids: &mut Vec<u32>) -> Result<(), EngineError> {
        ids.extend(text.split(' ').map(|word| if word == "panic" { PANICS } else { 1 }));
        cursor.finish();
        Ok(())
    }

    fn next_tokens(
        &self,
        text: &str,
        special: bool,
        cursor: &mut TextCursor,
        tokens: &mut Vec<Token>,
    ) -> Result<(), EngineError> {
        if special {
            tokens.push(Token::new_special(0));
        }
        let mut start = 0;
        for word in text.split(' ') {
            tokens.push(Token::new(1, Some((start, start + word.len())), start));
            start += word.len() + 1;
        }
        cursor.finish();
        Ok(())
    }

    fn token_name(&self, _: u32) -> Option<String> {
        Some("[S]".into())
    }

    fn step(
        &self,
        batch: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        if !self.one_step_at_a_time {
            idle.notify();
        }
        self.steps.fetch_add(1, Ordering::SeqCst);
        self.batches.lock().unwrap().push(batch.iter().map(Vec::len).collect());
        assert!(!batch.iter().flatten().any(|id| *id == PANICS), "an intended panic");
        while self.blocked.load(Ordering::SeqCst) {
            if cancel.is_cancelled() {
                self.cancelled_steps.fetch_add(1, Ordering::SeqCst);
                return Err(EngineError::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(batch.iter().map(|sequence| vec![sequence.len() as f32, batch.len() as f32, 0.0, 1.0]).collect())
    }
}

/// Options of a server with short time limits on a free port.
pub fn options() -> Options {
    Options {
        models: vec![("m".into(), "unused".into())],
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        admin_listen: Vec::new(),
        allowed_hosts: Vec::new(),
        trusted_proxies: Vec::new(),
        socket_mode: 0o660,
        api_keys: None,
        protect_metrics: false,
        threads: NonZeroUsize::new(2).unwrap(),
        backends: Backends::default(),
        sources: OptionSources::default(),
        lazy_weights: true,
        memory_headroom: None,
        memory_max: None,
        admission: AdmissionLimits { requests_max: 64, bytes_max: 1 << 20 },
        requests: RequestLimits {
            body_bytes_max: 64 << 10,
            body_timeout: Duration::from_millis(300),
            body_rate_min: 0,
            timeout: Duration::from_secs(20),
            inputs_max: 100,
            token_ids: true,
        },
        connections: ConnectionLimits {
            connections_max: 256,
            header_timeout: Duration::from_millis(500),
            write_timeout: Duration::from_millis(500),
        },
        batches: BatchSettings {
            batch_tokens: 64,
            batch_delay: Duration::ZERO,
            queue_timeout: None,
            request_tokens_max: 5000,
            tokenize_max: 2,
        },
    }
}

/// Loads the model.
pub fn loader(model: &Arc<Fake>) -> Loader {
    let model = Arc::clone(model);
    Arc::new(move |_: &str, _: &Path| Ok(Arc::clone(&model) as Arc<dyn Model>))
}

/// A server with the model.
pub fn serve(model: &Arc<Fake>) -> Server {
    Server::open_with(options(), loader(model)).unwrap()
}

/// Polls until `done`, for at most 20 s.
#[track_caller]
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The address of the first listener.
pub fn address(server: &Server) -> SocketAddr {
    match server.addresses() {
        [Listen::Tcp(address), ..] => *address,
        other => panic!("{other:?}"),
    }
}
