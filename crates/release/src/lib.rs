//! The release pipeline: from `release.toml` to proved artifacts, one module a stage. [`pipeline::dist`] is the order.

pub mod artifact;
mod build_script_cc;
pub mod cargo;
pub mod config;
pub mod fixtures;
pub mod gate;
pub mod image;
pub mod jobs;
pub mod mutants;
pub mod native;
mod pack;
pub mod pipeline;
pub mod plan;
pub mod previous;
pub mod prove;
pub mod ship;
pub mod sources;
mod strip;
pub mod surroundings;
pub mod test_runner;
pub mod toolchain;

diag::codes! {
    /// To be split into one code for each kind of problem.
    pub GENERAL = Environment "pipeline": "a step of the pipeline failed" {
        "fix": "read the message and its hint",
    }
}
