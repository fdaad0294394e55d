//! Does it fit? Read before anything is loaded, refused before anything is bound.
//!
//! `limits` reads what the kernel allows, `process` what this process has, `preflight` compares. The kernel's files are read
//! through [`Tree`], so that tests can show them any machine, and the self-test too, in an image where no file can be written.

pub mod limits;
pub mod mountinfo;
pub mod preflight;
pub mod process;
mod tree;

pub use tree::Tree;
