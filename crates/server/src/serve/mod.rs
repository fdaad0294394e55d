//! `inferd serve`: models over HTTP, with bounded memory and bounded load.
//!
//! ```text
//! connections   accept loop; time limits; number of connections in all and of each client
//!  -> http      router, layers, extractors, one handler module per endpoint; one error envelope
//!  -> admission a permit, or status 429, or status 503
//!  -> catalog   the model, loaded once for concurrent requests
//!  -> scheduler batches of several clients, on the engine's one thread pool
//! ```
//!
//! Invariants: no lock is held while a model computes; a permit lives as long as the work that it was issued for; work
//! whose client has disconnected stops within one layer; every queue and buffer is bounded.
//!
//! The start checks memory, loads the models and binds the listeners, in this order. [`Server`] holds all of it, so
//! that tests run a server with their own models in their own process.

mod admission;
mod allowed_host;
mod api_keys;
mod backends;
pub(crate) mod catalog;
mod client;
mod connection_table;
mod connections;
pub(crate) mod drain;
mod exhaustion;
pub(crate) mod http;
mod job;
mod listen;
pub(crate) mod memory_budget;
mod memory_cap;
mod metrics;
mod model;
pub(crate) mod options;
mod purge;
mod purge_request;
mod queue;
mod reload;
mod run;
mod scheduler;
mod server;
mod share;
mod shutdown;
mod signals;
mod single_flight;
mod startup_log;
pub(crate) mod state;
mod text;
mod text_work;
mod trusted_proxy;
mod write_timeout;

pub use admission::AdmissionLimits;
pub use allowed_host::AllowedHost;
pub use backends::{Backends, Described, dtype_name};
pub use catalog::Loader;
pub use drain::DrainOutcome;
pub use listen::Listen;
pub use model::{Model, Shape};
pub use options::{ConnectionLimits, OptionSources, Options, RequestLimits};
pub use run::run_until_signal;
pub use scheduler::BatchSettings;
pub use server::Server;
pub use trusted_proxy::TrustedProxy;
