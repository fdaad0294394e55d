//! The HTTP interface: router, layers, extractors, and one handler module per endpoint.
//!
//! ```text
//! router -> request_log (layer: id, client, host, authentication, log line, panics, rest of the body)
//!        -> handlers    -> admitted (extractor: deadline, permit, body)
//! ```

mod admitted;
mod auth;
mod body;
mod body_reader;
mod connection;
mod context;
mod deadline;
mod echo;
mod error;
mod forwarded;
mod handlers;
mod host;
mod input;
mod json;
mod lenient_int;
mod parts;
mod request_log;
mod router;
mod stream;
mod vectors;

pub use connection::Connection;
pub use echo::cut;
pub use host::HostPolicy;
pub use router::{admin_router, probe_router, router};
