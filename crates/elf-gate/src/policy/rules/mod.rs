//! The rules, by area. Each file has a table of rules and their checks.

pub(super) mod build;
pub(super) mod debug;
mod glibc_names;
pub(super) mod hardening;
pub(super) mod inner;
pub(super) mod isa;
pub(super) mod layout;
pub(super) mod link;
pub(super) mod load;
pub(super) mod packed;
pub(super) mod runtimes;
pub(super) mod segments;
pub(super) mod size;
pub(super) mod strip;
pub(super) mod symbols;
pub(super) mod vector_loops;
pub(super) mod waivers;
