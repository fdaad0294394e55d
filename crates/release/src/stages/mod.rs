//! The stages of a release, one module each. A stage consumes the value of the stage before it and returns the next one; no
//! other module constructs that value. [`crate::stage::STAGES`] is the table of all stages.

pub mod image;
pub mod link;
pub mod mutation;
pub mod native;
pub mod pack;
pub mod prove;
pub mod publish;
pub mod sources;
pub mod strip;
pub mod toolchain;
