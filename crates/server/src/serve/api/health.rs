//! `/healthz`: the process answers. `/readyz`: it takes work. `/metrics`: what it has done. None of them waits for a
//! model or takes a place in the queue.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, header};
use serde_json::json;

use super::super::admission::Phase;
use super::super::app::App;
use super::error::ApiError;
use super::models::answer;

pub async fn alive() -> Response<Body> {
    answer(&json!({ "status": "ok" }))
}

pub async fn ready(State(app): State<Arc<App>>) -> Result<Response<Body>, ApiError> {
    match app.admission.phase() {
        Phase::Draining => Err(ApiError::draining()),
        Phase::Ready => match app.catalog.changed() {
            Some(name) => Err(ApiError::unavailable(
                "model_changed",
                format!(
                    "the weights of `{name}` were changed in place; reload with SIGHUP when the file is whole again"
                ),
            )),
            None => Ok(answer(&json!({ "status": "ready" }))),
        },
    }
}

pub async fn metrics(State(app): State<Arc<App>>) -> Response<Body> {
    let mut response = Response::new(Body::from(app.metrics_page()));
    let value = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}
