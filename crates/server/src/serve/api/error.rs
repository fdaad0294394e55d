//! Every error that a client sees, in the envelope that OpenAI's clients read:
//! `{"error": {"message", "type", "param", "code"}}`.

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::super::admission::Refusal;
use super::super::job::JobError;
use engine::EngineError;

#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: String,
    param: Option<&'static str>,
    retry_after_s: Option<u64>,
    /// What is left of the request's body will not be read.
    close: bool,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let kind = match status.as_u16() {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        };
        let message = message.into();
        Self { status, kind, code, message, param: None, retry_after_s: None, close: false }
    }

    /// Whether the connection can be kept depends upon whether the request's body has been read.
    pub fn with_body_read(self, read: bool) -> Self {
        Self { close: !read, ..self }
    }

    pub fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(StatusCode::BAD_REQUEST, "invalid_value", message) }
    }

    pub fn json(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_json", message)
    }

    /// The field that it is about.
    pub fn at(self, param: &'static str) -> Self {
        Self { param: Some(param), ..self }
    }

    pub fn model_not_found(name: &str, known: &[String]) -> Self {
        let message = format!("the model `{name}` is not served here; served are: `{}`", known.join("`, `"));
        Self { param: Some("model"), ..Self::new(StatusCode::NOT_FOUND, "model_not_found", message) }
    }

    pub fn not_found(path: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown_url", format!("there is nothing at `{path}`"))
    }

    pub fn method_not_allowed(method: &str, path: &str) -> Self {
        let message = format!("`{path}` does not take {method}; the `Allow` header says what it takes");
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    pub fn body_too_large(bytes_max: u64) -> Self {
        let message = format!("the body is larger than {bytes_max} bytes; send fewer inputs a request");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message)
    }

    pub fn body_too_slow(seconds: f64) -> Self {
        let message = format!("the body did not arrive within {seconds} s");
        Self::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", message)
    }

    pub fn media_type() -> Self {
        let message = "send JSON with `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    pub fn timeout(seconds: f64) -> Self {
        let message = format!("no answer within {seconds} s; the work has been stopped");
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message)
    }

    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Self { retry_after_s: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, code, message) }
    }

    pub fn draining() -> Self {
        Self::unavailable("draining", "the server is shutting down")
    }

    /// `param` is the field that the job's inputs came from.
    pub fn of_job(error: JobError, param: &'static str) -> Self {
        let text = error.to_string();
        match error {
            JobError::Stopped => Self::draining(),
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

    pub fn unauthorized(message: impl Into<String>, code: &'static str) -> Self {
        Self { close: true, ..Self::new(StatusCode::UNAUTHORIZED, code, message) }
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Draining => Self::draining(),
            Refusal::Full { retry_after_s } => {
                let message = format!("the queue is full; try again in {retry_after_s} s");
                Self {
                    retry_after_s: Some(retry_after_s),
                    ..Self::new(StatusCode::TOO_MANY_REQUESTS, "queue_full", message)
                }
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
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
