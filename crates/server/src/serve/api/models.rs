//! `GET /v1/models` and `GET /v1/models/{name}`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{Response, header};
use serde_json::{Value, json};

use super::super::app::App;
use super::super::catalog::Entry;
use super::error::ApiError;

pub async fn list(State(app): State<Arc<App>>) -> Response<Body> {
    let models: Vec<Value> = app.catalog.entries().iter().map(|entry| describe(entry)).collect();
    answer(&json!({ "object": "list", "data": models }))
}

pub async fn one(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Response<Body>, ApiError> {
    Ok(answer(&describe(&*app.catalog.find(Some(&name))?)))
}

fn describe(entry: &Entry) -> Value {
    json!({ "id": entry.name, "object": "model", "created": entry.created, "owned_by": "inferd" })
}

pub fn answer(value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
