//! The release pipeline: from `release.toml` to proved artifacts.
//!
//! [`pipeline::dist`] runs the stages of [`stage::STAGES`] in their order. Each module of [`stages`] consumes the value of the
//! stage before it and returns the next one; only that module constructs it.
//!
//! The crate prints nothing and names no product and no library. It reads the environment in [`host_env`] only.
#![warn(missing_docs)]

pub mod artifact;
pub mod baseline;
pub mod bill;
mod build_script_cc;
pub mod cargo;
pub mod codes;
pub mod config;
pub mod context;
pub mod fetch;
pub mod fixtures;
pub mod gate;
pub mod host_env;
pub mod inputs;
pub mod jobs;
pub mod library;
pub mod native_inputs;
pub mod pipeline;
pub mod plan;
pub mod resolution;
pub mod rustflags;
pub mod stage;
pub mod stages;
pub mod test_runner;
