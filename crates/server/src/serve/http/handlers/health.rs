//! `GET /healthz`: the process responds. `GET /readyz`: it accepts requests. Neither waits for a model or needs a permit.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use serde_json::json;

use super::super::super::admission::Phase;
use super::super::super::state::AppState;
use super::super::error::ApiError;
use super::super::json::plain;

/// Liveness.
pub async fn live() -> Response<Body> {
    plain(&json!({ "status": "ok" }))
}

/// Readiness.
pub async fn ready(State(state): State<Arc<AppState>>) -> Result<Response<Body>, ApiError> {
    match (state.admission.phase(), state.catalog.changed()) {
        (Phase::Draining, _) => Err(ApiError::draining()),
        (Phase::Ready, Some(name)) => Err(ApiError::unavailable(
            "model_changed",
            format!("the weights of `{name}` were changed in place; restore the file and reload with SIGHUP"),
        )),
        (Phase::Ready, None) => Ok(plain(&json!({ "status": "ready" }))),
    }
}
