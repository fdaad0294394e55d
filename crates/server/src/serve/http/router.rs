//! The routes and their layers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware;
use axum::routing::{get, post};

use super::super::state::AppState;
use super::error::ApiError;
use super::handlers::{embeddings, health, infer, metrics, models, openapi, rerank, status, tokenize};
use super::request_log;

/// The router of a server.
pub fn router(state: Arc<AppState>) -> Router {
    Router::new()
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/infer", post(infer::infer))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::get))
        .route("/", get(status::page))
        .route("/openapi.json", get(openapi::document))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
        .fallback(async |request: Request<Body>| ApiError::not_found(request.uri().path()))
        .method_not_allowed_fallback(async |request: Request<Body>| {
            ApiError::method_not_allowed(request.method().as_str(), request.uri().path())
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&state), request_log::log_request))
        .with_state(state)
}
