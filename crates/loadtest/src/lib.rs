//! Load and fault tests of a running `inferd`: HTTP clients, traffic, scenarios, and checks of what they observed.
//!
//! - [`SCENARIOS`] and [`Context`]: what to run and against which files; [`Scenario::run`] starts the server, loads it and
//!   returns a [`ScenarioReport`]. [`Selection`] and [`Budget`] decide which ones run, and for how long.
//! - [`ScenarioCheck`]: one promise of docs/server.md with the expected and the observed value. A check that does not hold is a
//!   [`diag::Diagnostic`] of class [`diag::Class::Violation`]; [`CODES`] lists the codes.
//! - [`LoadReport`]: all scenarios of a run, as text or JSON.
//!
//! The crate uses only the command line, the HTTP interface and the log of the server. It does not depend on the server or on
//! the pipeline that builds it. It prints nothing; the binary `loadtest` does.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod aftermath;
mod big_host;
mod big_model;
mod blocked_log;
mod check;
mod codes;
mod container;
mod context;
mod curve;
mod disk;
mod drain;
mod faults;
mod http_client;
mod idle_connections;
mod large_json;
mod malformed;
mod metrics;
mod overload;
mod peak;
mod probe;
mod process_memory;
mod report;
mod rng;
mod scenario;
mod selection;
mod server;
mod shared_latency;
mod slow_body;
mod soak;
mod spike;
mod timeouts;
mod tokenize_flood;
mod tokenize_memory;
mod traffic;
mod two_clients;
mod unread_responses;
mod victim;
mod workload;

pub use check::ScenarioCheck;
pub use codes::*;
pub use context::Context;
pub use curve::Curve;
pub use report::{LoadReport, ScenarioReport};
pub use scenario::{SCENARIOS, Scenario, Time};
pub use selection::{Budget, Selection};

/// The server under test and its clients, for benches that compare builds of the server.
pub mod bench {
    pub use crate::metrics::Sample;
    pub use crate::server::Server;
    pub use crate::traffic::{Outcomes, Traffic};
    pub use crate::workload::embedding_requests;
}
