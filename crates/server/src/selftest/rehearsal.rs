//! The server without its listener, on the model inside the binary: what the checks of the server ask.
//!
//! Requests go through the real routes as values, not through a socket: an image may be run without any network, and a check
//! that needs one would not be measured there. Everything behind the socket is the server's own: routes, admission, catalog,
//! scheduler, engine.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use engine::{Cancel, EngineError, IdleSignal, TokenWithOffsets};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use tokio::runtime::Runtime;

use super::embedded_model;
use crate::serve::app::App;
use crate::serve::log::Log;
use crate::serve::{
    AdmissionLimits, BatchSettings, ConnectionLimits, Loader, LogFormat, Model, Options, Origins,
    RequestLimits, Shape, api, server,
};

/// Far above what any step of a check needs, far below the time that a check has.
pub const TIME_MAX: Duration = Duration::from_secs(20);

pub fn options() -> Options {
    Options {
        models: vec![(embedded_model::NAME.into(), Path::new(embedded_model::NAME).into())],
        // Never bound.
        listen: Vec::new(),
        socket_mode: 0o660,
        api_keys: None,
        protect_metrics: false,
        threads: embedded_model::THREADS,
        origins: Origins::default(),
        lazy_weights: true,
        memcheck_headroom: None,
        admission: AdmissionLimits { requests_max: 64, bytes_max: 16 << 20 },
        requests: RequestLimits {
            body_bytes_max: 8 << 20,
            body_timeout: TIME_MAX,
            infer_timeout: TIME_MAX,
            inputs_max: 1 << 12,
        },
        connections: ConnectionLimits {
            connections_max: 1,
            header_timeout: TIME_MAX,
            write_timeout: TIME_MAX,
        },
        batches: BatchSettings {
            batch_tokens: 256,
            batch_delay: Duration::ZERO,
            request_tokens_max: 1 << 20,
        },
        log_format: LogFormat::Text,
    }
}

pub struct Rehearsal {
    pub runtime: Runtime,
    pub app: Arc<App>,
    router: Router,
}

/// Status and, of an error, its code.
pub type Answer = (u16, Option<String>);

impl Rehearsal {
    pub fn open(model: Arc<dyn Model>) -> Result<Self, String> {
        let loader: Loader = Arc::new(move |_, _| Ok(Arc::clone(&model)));
        // On the thread of the check: none is left behind.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
        let app =
            server::app(&options(), loader, Log::to_nobody(), None).map_err(|failure| failure.to_string())?;
        let app = Arc::new(app);
        let router = api::router(Arc::clone(&app));
        Ok(Self { runtime, app, router })
    }

    /// `POST /v1/embeddings`; drop the future and the client has gone away.
    pub fn embed(&self, body: String) -> impl Future<Output = Answer> + Send + 'static {
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

    /// Until `done`, or an error that says what did not come.
    pub async fn until(what: &str, mut done: impl FnMut() -> bool) -> Result<(), String> {
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

/// The real model behind a gate: a step that has begun waits until the gate opens or its caller gives up, so that a check
/// finds requests in flight without a race.
pub struct Gated {
    model: Arc<engine::Embedder>,
    gate: std::sync::Mutex<Gate>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Gate {
    pub open: bool,
    /// Steps that have begun.
    pub begun: usize,
    /// Steps that the engine itself ended as cancelled.
    pub cancelled: usize,
}

impl Gated {
    pub fn new() -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self { model: embedded_model::shared()?, gate: std::sync::Mutex::default() }))
    }

    pub fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Model for Gated {
    fn shape(&self) -> Shape {
        Model::shape(&*self.model)
    }

    fn tokenize(&self, texts: &[String], cancel: &Cancel) -> Result<Vec<Vec<u32>>, EngineError> {
        Model::tokenize(&*self.model, texts, cancel)
    }

    fn pieces(
        &self,
        texts: &[String],
        special_tokens: bool,
        cancel: &Cancel,
    ) -> Result<Vec<Vec<TokenWithOffsets>>, EngineError> {
        Model::pieces(&*self.model, texts, special_tokens, cancel)
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
