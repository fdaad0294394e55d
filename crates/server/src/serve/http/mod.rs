//! The HTTP interface: router, layers, extractors, and one handler module per endpoint.
//!
//! ```text
//! router -> request_log (layer: id, authentication, log line, panics)
//!        -> handlers    -> admitted (extractor: deadline, permit, body)
//! ```

mod admitted;
mod auth;
mod body;
mod context;
mod deadline;
mod echo;
mod error;
mod handlers;
mod input;
mod json;
mod lenient_int;
mod parts;
mod request_log;
mod router;
mod stream;
mod vectors;

pub use echo::cut;
pub use router::router;
