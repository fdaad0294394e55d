//! Authentication by API key. The client of a request is then the name of its key instead of its address.

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};

use super::super::state::AppState;
use super::error::ApiError;

/// Used by orchestrators, which hold no key.
const ALWAYS_OPEN: &[&str] = &["/healthz", "/readyz"];
/// Used by monitoring, which usually holds no key.
const MONITORING: &[&str] = &["/metrics", "/"];

/// Replaces the client of the connection by the client of the key.
pub fn authenticate(state: &AppState, request: &mut Request<Body>) -> Result<(), ApiError> {
    let Some(keys) = &state.api_keys else { return Ok(()) };
    match bearer_token(request.headers()).and_then(|key| keys.client(key)) {
        Some(client) => {
            request.extensions_mut().insert(client);
            Ok(())
        }
        None if is_open(state, request.uri().path()) => Ok(()),
        None => Err(rejection(request.headers())),
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
