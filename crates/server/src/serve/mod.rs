//! `inferd serve`: models over HTTP, on a machine that may be too small, to clients that may be too many.
//!
//! ```text
//! connections   time limits, a number of connections
//!  -> api       one module an endpoint; every error in one envelope
//!  -> admission a permit, or 429, or 503
//!  -> catalog   the model, loaded once however many ask
//!  -> scheduler a batch from many clients in turn, on the engine's one pool
//! ```
//!
//! The rules that hold everywhere: no lock is held while a model computes; a permit lives as long as the work it was
//! given for; a request that nobody waits for any more stops within one layer's time; what is unbounded is refused.
//!
//! Order of a start: memory is checked, models are loaded, the listener is bound. [`Server`] is the whole of it in one
//! value, so that tests run it inside their own process, with models of their own.

pub(crate) mod admission;
pub(crate) mod api;
pub(crate) mod app;
pub(crate) mod catalog;
pub(crate) mod client;
mod connections;
mod job;
mod keys;
mod listen;
pub(crate) mod log;
mod metrics;
mod model;
pub(crate) mod need;
mod queue;
pub(crate) mod scheduler;
pub(crate) mod server;
mod signals;
mod single_flight;
mod stall_guard;
mod summary;

pub use admission::Limits as AdmissionLimits;
pub use api::TIMEOUT_HEADER;
pub use app::RequestLimits;
pub use catalog::Loader;
pub use connections::ConnectionLimits;
pub use listen::Listen;
pub use log::Format as LogFormat;
pub use model::{Model, Shape};
pub use scheduler::Settings as BatchSettings;
pub use server::{Drained, Options, Origins, Server};
pub use signals::run;
