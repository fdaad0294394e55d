//! The routes. One module an endpoint; `error` has every error that a client can see.

mod auth;
mod body;
mod deadline;
mod embeddings;
mod error;
mod health;
mod infer;
mod input;
mod models;
mod openapi;
mod request_log;
mod rerank;
mod status;
mod tokenize;
mod vectors;
mod whole;
mod work;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware;
use axum::routing::{get, post};

use super::app::App;
pub use deadline::HEADER as TIMEOUT_HEADER;
pub use error::ApiError;

pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/embeddings", post(embeddings::post))
        .route("/v1/infer", post(infer::post))
        .route("/v1/rerank", post(rerank::post))
        .route("/tokenize", post(tokenize::post))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{name}", get(models::one))
        .route("/", get(status::page))
        .route("/openapi.json", get(openapi::document))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .fallback(async |request: Request<Body>| ApiError::not_found(request.uri().path()))
        .method_not_allowed_fallback(async |request: Request<Body>| {
            ApiError::method_not_allowed(request.method().as_str(), request.uri().path())
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&app), request_log::around))
        .with_state(app)
}
