//! Authentication by API key. The client of a request is then the name of its key instead of its address.

use axum::http::{HeaderMap, header};

use super::super::client::Client;
use super::super::state::AppState;
use super::error::ApiError;

/// Used by orchestrators, which hold no key.
const ALWAYS_OPEN: &[&str] = &["/healthz", "/readyz"];
/// Used by monitoring, which usually holds no key.
const MONITORING: &[&str] = &["/metrics", "/"];

/// The client of the key, if the request has a valid one.
pub fn authenticate(state: &AppState, headers: &HeaderMap, path: &str) -> Result<Option<Client>, ApiError> {
    let Some(keys) = &state.api_keys else { return Ok(None) };
    match bearer_token(headers).and_then(|key| keys.client(key)) {
        Some(client) => Ok(Some(client)),
        None if is_open(state, path) => Ok(None),
        None => Err(rejection(headers)),
    }
}

/// Whether the path needs no key.
pub fn is_open(state: &AppState, path: &str) -> bool {
    ALWAYS_OPEN.contains(&path) || (!state.protect_metrics && MONITORING.contains(&path))
}

fn bearer_token(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn rejection(headers: &HeaderMap) -> ApiError {
    if headers.contains_key(header::AUTHORIZATION) {
        ApiError::unauthorized("the API key is not valid", "invalid_api_key")
    } else {
        ApiError::unauthorized(
            "the request has no API key; send `Authorization: Bearer KEY`",
            "missing_api_key",
        )
    }
}
