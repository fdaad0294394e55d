//! JSON bodies of requests and responses.

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::admission::Permit;
use super::body::CountedBody;
use super::error::ApiError;

/// Parses the body of a request.
pub fn parse<'a, T: Deserialize<'a>>(body: &'a str) -> Result<T, ApiError> {
    serde_json::from_str(body).map_err(|error| ApiError::json(error.to_string()))
}

/// A response of bounded size that holds the permit until it has been sent.
pub fn counted(value: &impl Serialize, permit: Permit) -> Result<Response<Body>, ApiError> {
    let json = serde_json::to_vec(value).map_err(|error| ApiError::internal(error.to_string()))?;
    Ok(response(Body::new(CountedBody::new(json, permit))))
}

/// A small response without a permit.
pub fn plain(value: &Value) -> Response<Body> {
    response(Body::from(value.to_string()))
}

/// A response with this body.
pub fn response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
