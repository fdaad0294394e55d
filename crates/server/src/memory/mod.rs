//! Does it fit? Read before anything is loaded, refused before anything is bound.
//!
//! `limits` reads what the kernel allows, `process` what this process has, `preflight` compares. All take the root of the
//! file system as an argument, so that tests can show them any machine.

pub mod limits;
pub mod mountinfo;
pub mod preflight;
pub mod process;
