//! A model that does what a test needs: blocks, fails, panics, counts. And a server with it inside the test's process.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engine::{Cancel, EngineError, IdleSignal, TokenWithOffsets};
use inferd::serve::{
    AdmissionLimits, BatchSettings, ConnectionLimits, Listen, Loader, LogFormat, Model, Options, Origins,
    RequestLimits, Server, Shape,
};

/// A model of 4 dimensions. A text is one token a word, and its vector is [words, length of the batch, 0, 1].
#[derive(Default)]
pub struct Fake {
    /// Layers of a step, each a look at the cancel flag and a pause of 1 ms.
    pub layers: usize,
    /// There is room for one step at a time; else for as many as come.
    pub narrow: bool,
    /// While set, a step does not end unless it is cancelled.
    pub blocked: AtomicBool,
    pub steps: AtomicUsize,
    pub stopped: AtomicUsize,
    /// Sequences of each batch, by the words of their texts.
    pub batches: Mutex<Vec<Vec<usize>>>,
}

pub const PANICS: u32 = 13;

impl Model for Fake {
    fn shape(&self) -> Shape {
        Shape { dimension: 4, tokens_max: 256, vocabulary: 1000 }
    }

    fn tokenize(&self, texts: &[String], _: &Cancel) -> Result<Vec<Vec<u32>>, EngineError> {
        let id = |word: &str| if word == "panic" { PANICS } else { 1 };
        Ok(texts.iter().map(|text| text.split(' ').map(id).collect()).collect())
    }

    fn pieces(
        &self,
        texts: &[String],
        special: bool,
        _: &Cancel,
    ) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError> {
        let mark = || TokenWithOffsets { id: 0, text: "[S]".into(), special: true, offsets: None };
        let word = |word: &str| TokenWithOffsets {
            id: 1,
            text: word.into(),
            special: false,
            offsets: Some((0, word.len())),
        };
        let one = |text: &String| {
            let words = text.split(' ').map(word);
            if special { [mark()].into_iter().chain(words).collect() } else { words.collect() }
        };
        Ok(texts.iter().map(one).collect())
    }

    fn step(
        &self,
        batch: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        if !self.narrow {
            idle.notify();
        }
        self.steps.fetch_add(1, Ordering::SeqCst);
        self.batches.lock().unwrap().push(batch.iter().map(Vec::len).collect());
        assert!(!batch.iter().flatten().any(|id| *id == PANICS), "a panic that a test wants");
        let mut layer = 0;
        while layer < self.layers || self.blocked.load(Ordering::SeqCst) {
            if cancel.is_cancelled() {
                self.stopped.fetch_add(1, Ordering::SeqCst);
                return Err(EngineError::Cancelled);
            }
            std::thread::sleep(Duration::from_millis(1));
            layer += 1;
        }
        Ok(batch.iter().map(|sequence| vec![sequence.len() as f32, batch.len() as f32, 0.0, 1.0]).collect())
    }
}

pub fn options() -> Options {
    Options {
        models: vec![("m".into(), "unused".into())],
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        socket_mode: 0o660,
        api_keys: None,
        protect_metrics: false,
        threads: NonZeroUsize::new(2).unwrap(),
        origins: Origins::default(),
        lazy_weights: true,
        memcheck_headroom: None,
        admission: AdmissionLimits { requests_max: 64, bytes_max: 1 << 20 },
        requests: RequestLimits {
            body_bytes_max: 64 << 10,
            body_timeout: Duration::from_millis(300),
            infer_timeout: Duration::from_secs(20),
            inputs_max: 100,
        },
        connections: ConnectionLimits {
            connections_max: 256,
            header_timeout: Duration::from_millis(500),
            write_timeout: Duration::from_millis(500),
        },
        batches: BatchSettings { batch_tokens: 64, batch_delay: Duration::ZERO, request_tokens_max: 5000 },
        log_format: LogFormat::Text,
    }
}

pub fn loader(model: &Arc<Fake>) -> Loader {
    let model = Arc::clone(model);
    Arc::new(move |_: &str, _: &Path| Ok(Arc::clone(&model) as Arc<dyn Model>))
}

pub fn serve(model: &Arc<Fake>) -> Server {
    Server::open_with(options(), loader(model)).unwrap()
}

#[track_caller]
pub fn wait_until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(20), "not within 20 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Of its first listener, which is TCP.
pub fn address(server: &Server) -> SocketAddr {
    match server.addresses() {
        [Listen::Tcp(address), ..] => *address,
        other => panic!("{other:?}"),
    }
}
