//! `GET /v1/models` and `GET /v1/models/{name}`, whose name may contain slashes.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::Response;
use serde_json::{Value, json};

use super::super::super::catalog::CatalogEntry;
use super::super::super::state::AppState;
use super::super::error::ApiError;
use super::super::json::plain;

/// All models.
pub async fn list(State(state): State<Arc<AppState>>) -> Response<Body> {
    let models: Vec<Value> = state.catalog.entries().iter().map(|entry| describe(entry)).collect();
    plain(&json!({ "object": "list", "data": models }))
}

/// One model.
pub async fn get(
    State(state): State<Arc<AppState>>,
    Path(name): Path<String>,
) -> Result<Response<Body>, ApiError> {
    Ok(plain(&describe(&*state.catalog.find(Some(&name))?)))
}

fn describe(entry: &CatalogEntry) -> Value {
    json!({ "id": entry.name(), "object": "model", "created": entry.created(), "owned_by": "inferd" })
}
