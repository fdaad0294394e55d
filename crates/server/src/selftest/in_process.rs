//! A server without a listener, with the embedded model, for the checks of the server.
//!
//! Requests reach the router as values and not through a socket, so that the checks run in a container without a
//! network. Everything behind the socket is that of the real server: router, admission, catalog, scheduler, engine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use engine::{Cancel, EngineError, IdleSignal, TextCursor, Token};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::Runtime;

use super::embedded_model;
use crate::serve::state::AppState;
use crate::serve::{
    AdmissionLimits, Backends, BatchSettings, ConnectionLimits, Loader, Model, OptionSources, Options,
    RequestLimits, Shape, http,
};

/// Time limit of one step: far above its usual time, far below the time limit of a check.
pub const TIME_MAX: Duration = Duration::from_secs(20);

/// Options of the server.
pub fn options() -> Options {
    Options {
        models: vec![(embedded_model::NAME.into(), Path::new(embedded_model::NAME).into())],
        // There is no listener.
        listen: Vec::new(),
        admin_listen: Vec::new(),
        allowed_hosts: Vec::new(),
        trusted_proxies: Vec::new(),
        socket_mode: 0o660,
        api_keys: None,
        protect_metrics: false,
        threads: embedded_model::THREADS,
        backends: Backends::default(),
        sources: OptionSources::default(),
        lazy_weights: true,
        memory_headroom: None,
        memory_max: None,
        admission: AdmissionLimits { requests_max: 64, bytes_max: 16 << 20 },
        requests: RequestLimits {
            body_bytes_max: 8 << 20,
            body_timeout: TIME_MAX,
            body_rate_min: 0,
            timeout: TIME_MAX,
            inputs_max: 1 << 12,
            token_ids: true,
        },
        connections: ConnectionLimits {
            connections_max: 1,
            header_timeout: TIME_MAX,
            write_timeout: TIME_MAX,
        },
        batches: BatchSettings {
            batch_tokens: 256,
            batch_delay: Duration::ZERO,
            queue_timeout: None,
            request_tokens_max: 1 << 20,
            tokenize_max: 2,
        },
    }
}

/// The server.
pub struct InProcessServer {
    pub runtime: Runtime,
    pub state: Arc<AppState>,
    router: Router,
}

/// Status and the code of an error.
pub type Response = (u16, Option<String>);

impl InProcessServer {
    /// A server whose only model is `model`.
    pub fn open(model: Arc<dyn Model>) -> Result<Self, String> {
        let loader: Loader = Arc::new(move |_, _| Ok(Arc::clone(&model)));
        // Runs on the thread of the check and leaves no thread behind.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
        let state = AppState::new(&options(), loader, None)
            .map_err(|error| format!("cannot start the scheduler: {error}"))?;
        let state = Arc::new(state);
        let router = http::router(Arc::clone(&state));
        Ok(Self { runtime, state, router })
    }

    /// `POST /v1/embeddings`. Dropping the future disconnects the client.
    pub fn embed(&self, body: String) -> impl Future<Output = Response> + Send + 'static {
        let service = TowerToHyperService::new(self.router.clone());
        async move {
            let request = Request::post("/v1/embeddings")
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::CONTENT_LENGTH, body.len());
            let Ok(request) = request.body(Body::from(body)) else { return (0, None) };
            let response = match service.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            (status, json["error"]["code"].as_str().map(str::to_owned))
        }
    }

    /// Polls until `done`; after [`TIME_MAX`] an error that names the condition.
    pub async fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
        let started = Instant::now();
        while !done() {
            if started.elapsed() > TIME_MAX {
                return Err(format!("not within {} s: {what}", TIME_MAX.as_secs()));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

/// The embedded model behind a gate: a step waits until the gate opens or its request is cancelled, so that requests
/// stay in flight for as long as a check needs.
pub struct GatedModel {
    model: Arc<engine::Embedder>,
    gate: std::sync::Mutex<Gate>,
}

/// State of the gate.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gate {
    pub open: bool,
    /// Steps that have begun.
    pub begun: usize,
    /// Steps that the engine ended as cancelled.
    pub cancelled: usize,
}

impl GatedModel {
    /// A model with a closed gate.
    pub fn new() -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self { model: embedded_model::shared()?, gate: std::sync::Mutex::default() }))
    }

    /// Locks the gate.
    pub fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Model for GatedModel {
    fn shape(&self) -> Shape {
        Model::shape(&*self.model)
    }

    fn next_ids(&self, text: &str, cursor: &mut TextCursor, ids: &mut Vec<u32>) -> Result<(), EngineError> {
        Model::next_ids(&*self.model, text, cursor, ids)
    }

    fn next_tokens(
        &self,
        text: &str,
        special_tokens: bool,
        cursor: &mut TextCursor,
        tokens: &mut Vec<Token>,
    ) -> Result<(), EngineError> {
        Model::next_tokens(&*self.model, text, special_tokens, cursor, tokens)
    }

    fn token_name(&self, id: u32) -> Option<String> {
        Model::token_name(&*self.model, id)
    }

    fn step(
        &self,
        batch: &[Vec<u32>],
        cancel: &Cancel,
        idle: &IdleSignal,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        self.gate().begun += 1;
        while !self.gate().open && !cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let result = self.model.embed_tokens(batch, cancel, idle);
        if matches!(result, Err(EngineError::Cancelled)) {
            self.gate().cancelled += 1;
        }
        result
    }
}
