//! The release pipeline: from `release.toml` to proved artifacts, one module a stage. [`pipeline::dist`] is the order.

pub mod artifact;
pub mod cargo;
pub mod config;
pub mod digest;
pub mod failure;
pub mod gate;
pub mod image;
pub mod jobs;
pub mod model;
pub mod mutants;
pub mod native;
mod output;
mod pack;
pub mod pipeline;
pub mod plan;
pub mod previous;
pub mod prove;
pub mod run;
pub mod ship;
pub mod sources;
pub mod store;
mod strip;
pub mod surroundings;
pub mod testing;
pub mod toolchain;
pub mod units;
pub mod vendor;
