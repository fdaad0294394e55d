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
    let routes = admin_routes()
        .route("/v1/embeddings", post(embeddings::create))
        .route("/v1/infer", post(infer::infer))
        .route("/v1/rerank", post(rerank::rerank))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::get))
        .route("/openapi.json", get(openapi::document))
        .fallback(async |request: Request<Body>| ApiError::not_found(request.uri().path()));
    finish(routes, state)
}

/// The router of `--admin-listen`: probes, metrics and the status page.
pub fn admin_router(state: Arc<AppState>) -> Router {
    let routes =
        admin_routes().fallback(async |request: Request<Body>| ApiError::not_found(request.uri().path()));
    finish(routes, state)
}

/// The router of reserved connections: the same, and a temporary error for all other requests.
pub fn probe_router(state: Arc<AppState>) -> Router {
    finish(admin_routes().fallback(async || ApiError::connections_full()), state)
}

fn admin_routes() -> Router<Arc<AppState>> {
    Router::new()
        .route("/", get(status::page))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::scrape))
}

fn finish(routes: Router<Arc<AppState>>, state: Arc<AppState>) -> Router {
    routes
        .method_not_allowed_fallback(async |request: Request<Body>| {
            ApiError::method_not_allowed(request.method().as_str(), request.uri().path())
        })
        .layer(middleware::from_fn_with_state(Arc::clone(&state), request_log::log_request))
        .with_state(state)
}
