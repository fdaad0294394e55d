//! Every error response, in the envelope of the OpenAI API: `{"error": {"message", "type", "param", "code"}}`.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use engine::EngineError;
use serde_json::json;

use super::super::admission::Rejection;
use super::super::catalog::LookupError;
use super::super::job::JobError;
use super::super::memory_cap::MemoryFull;
use super::echo::{cut, cut_message};
use crate::codes;

/// An error response.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: String,
    param: Option<&'static str>,
    retry_after_s: Option<u64>,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let kind = match status.as_u16() {
            429 => "rate_limit_error",
            504 => "timeout_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        let message = message.into();
        Self { status, kind, code, message, param: None, retry_after_s: None }
    }

    /// A field has an invalid value.
    pub fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, "invalid_value", message) }
    }

    /// The body is not JSON, or not of the expected form.
    pub fn json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", cut_message(&message.into()))
    }

    /// Adds the name of the field.
    pub fn at(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    /// No route has this path.
    pub fn not_found(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_url", format!("there is no endpoint `{}`", cut(path)))
    }

    /// The route has other methods.
    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        let (method, path) = (cut(method), cut(path));
        let message = format!("`{path}` does not support {method}; the header `Allow` lists the methods");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    /// The body exceeds the limit.
    pub fn body_too_large(bytes_max: u64) -> Self {
        let message = format!("the body is larger than {bytes_max} bytes; send fewer inputs per request");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    /// The body arrived too slowly.
    pub fn body_too_slow(seconds: f64) -> Self {
        let message = format!("the body did not arrive within {seconds} s");
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
    }

    /// The body arrived below the minimum rate.
    pub fn body_below_rate(bytes_per_s: u64, seconds: u64) -> Self {
        let message =
            format!("the body arrived with less than {bytes_per_s} bytes per second for {seconds} s");
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
    }

    /// The header `Host` names another site, as in an attack by DNS rebinding.
    pub fn host_not_allowed(host: &str) -> Self {
        let message =
            format!("the host `{host}` is not allowed; the operator can add it with `--allowed-host`");
        Self::new(StatusCode::FORBIDDEN, "host_not_allowed", message)
    }

    /// The server has no connection left for requests other than probes.
    pub fn connections_full() -> Self {
        Self::unavailable(
            "connections_full",
            "too many connections are open; only probes are served on this one",
        )
    }

    /// The content type is not JSON.
    pub fn media_type() -> Self {
        let message = "the body must be JSON with `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// The deadline has passed.
    pub fn timeout(seconds: f64) -> Self {
        let message = format!("the request was not finished within {seconds} s; its work is canceled");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    }

    /// A temporary condition.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    /// A model cannot be loaded. `cause` is the code of the diagnostic.
    pub fn model_not_loaded(cause: &diag::Code, message: impl Into<String>) -> Self {
        let is_memory = cause.id == codes::INSUFFICIENT_MEMORY.id;
        Self::unavailable(if is_memory { "insufficient_memory" } else { "model_not_loaded" }, message)
    }

    /// The request would exceed `--memory-max`.
    pub fn memory_full(full: MemoryFull) -> Self {
        let MemoryFull { resident, bound } = full;
        let message = format!(
            "the server uses {} MiB of at most {} MiB of memory; retry in 1 s",
            resident >> 20,
            bound >> 20
        );
        Self::unavailable("memory_max_reached", message)
    }

    /// An allocation failed.
    pub fn out_of_memory() -> Self {
        Self::unavailable(
            "out_of_memory",
            "the server has no memory for this request at present; send it again later",
        )
    }

    /// The server shuts down.
    pub fn draining() -> Self {
        Self::unavailable("draining", "the server is shutting down")
    }

    /// The error of a job; `param` is the field that its inputs came from.
    pub fn of_job(error: &JobError, param: &'static str) -> Self {
        let text = error.to_string();
        match error {
            JobError::Stopped => Self::draining(),
            JobError::Rejected(rejection) => Self::from(*rejection),
            JobError::QueueTimeout { limit } => Self {
                retry_after_s: Some(limit.as_secs_f64().ceil().max(1.0) as u64),
                ..Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_timeout", text)
            },
            JobError::TooManyTokens { .. } => Self::invalid(param, text),
            JobError::Engine(
                EngineError::Tokenize { .. }
                | EngineError::SequenceLength { .. }
                | EngineError::UnknownToken { .. },
            ) => Self::invalid(param, text),
            JobError::Engine(EngineError::WeightsChanged) => Self::unavailable("model_changed", text),
            JobError::Engine(EngineError::WorkerFailed | EngineError::Cancelled) => Self::internal(text),
        }
    }

    /// The request has no valid key.
    pub fn unauthorized(message: impl Into<String>, code: &'static str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, code, message)
    }

    /// A bug or damaged weights.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }
}

#[cfg(test)]
impl ApiError {
    /// The code, for tests.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Draining => Self::draining(),
            Rejection::Memory(full) => Self::memory_full(full),
            Rejection::Full { retry_after_s } => {
                let message = format!("too many requests are in flight; retry in {retry_after_s} s");
                Self {
                    retry_after_s: Some(retry_after_s),
                    ..Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message)
                }
            }
        }
    }
}

impl From<LookupError> for ApiError {
    fn from(error: LookupError) -> Self {
        let text = error.to_string();
        match error {
            LookupError::NameMissing => Self::invalid("model", text),
            LookupError::NotFound { .. } => {
                Self::new(StatusCode::NOT_FOUND, "model_not_found", text).at("model")
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        let body = json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }});
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"inferd\""));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A client handles all three in one way.
    #[test]
    fn every_lack_of_memory_is_a_503_of_one_type_with_retry_after() {
        let full = MemoryFull { resident: 9 << 20, bound: 8 << 20 };
        for (error, code) in [
            (ApiError::memory_full(full), "memory_max_reached"),
            (ApiError::from(Rejection::Memory(full)), "memory_max_reached"),
            (ApiError::of_job(&JobError::Rejected(Rejection::Memory(full)), "input"), "memory_max_reached"),
            (ApiError::out_of_memory(), "out_of_memory"),
            (ApiError::model_not_loaded(&codes::INSUFFICIENT_MEMORY, "m"), "insufficient_memory"),
        ] {
            assert_eq!(
                (error.status, error.kind, error.code),
                (StatusCode::SERVICE_UNAVAILABLE, "server_error", code)
            );
            assert_eq!(error.into_response().headers()[header::RETRY_AFTER], "1", "{code}");
        }
    }
}
