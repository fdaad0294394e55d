//! The key of a request, where the server asks for keys. A client is then a key's name, not an address.

use axum::body::Body;
use axum::http::{HeaderMap, Request, header};

use super::super::app::App;
use super::error::ApiError;

/// Asked by machines that hold no key: orchestrators.
const ALWAYS_OPEN: &[&str] = &["/healthz", "/readyz"];
/// Asked by monitoring, which as a rule holds none either.
const MONITORING: &[&str] = &["/metrics", "/"];

/// Replaces the client of the connection by that of the key.
pub fn identify(app: &App, request: &mut Request<Body>) -> Result<(), ApiError> {
    let Some(keys) = &app.keys else { return Ok(()) };
    let client = given(request.headers()).and_then(|key| keys.client(key));
    match client {
        Some(client) => {
            request.extensions_mut().insert(client);
            Ok(())
        }
        None if is_open(app, request.uri().path()) => Ok(()),
        None => Err(refusal(request.headers())),
    }
}

pub fn is_open(app: &App, path: &str) -> bool {
    ALWAYS_OPEN.contains(&path) || (!app.protect_metrics && MONITORING.contains(&path))
}

fn given(headers: &HeaderMap) -> Option<&str> {
    let (scheme, key) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

fn refusal(headers: &HeaderMap) -> ApiError {
    if headers.contains_key(header::AUTHORIZATION) {
        ApiError::unauthorized("this is no key of this server", "invalid_api_key")
    } else {
        ApiError::unauthorized("send your key: `Authorization: Bearer KEY`", "missing_api_key")
    }
}
