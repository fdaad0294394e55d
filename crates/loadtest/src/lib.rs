//! Load and fault tests of a running `inferd`: HTTP clients, traffic, scenarios, and checks of what they observed.
//!
//! - [`Scenario`] and [`Context`]: what to run and against which files; [`Scenario::run`] starts the server, loads it and
//!   returns a [`ScenarioReport`].
//! - [`Check`]: one promise of docs/server.md with the expected and the observed value. A check that does not hold is a
//!   [`diag::Diagnostic`] of class [`diag::Class::Violation`]; [`CODES`] lists the codes.
//! - [`Report`]: all scenarios of a run, as text or JSON.
//!
//! The crate uses only the command line, the HTTP interface and the log of the server. It does not depend on the server or on
//! the pipeline that builds it. It prints nothing; the binary `loadtest` does.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod blocked_log;
mod check;
mod codes;
mod container;
mod disk;
mod drain;
mod faults;
mod http_client;
mod metrics;
mod overload;
mod probe;
mod process_memory;
mod report;
mod scenario;
mod server;
mod tokenize_flood;
mod tokenize_memory;
mod traffic;
mod two_clients;
mod unread_responses;
mod workload;

pub use check::Check;
pub use codes::*;
pub use report::{Report, ScenarioReport};
pub use scenario::{Context, Scenario};
