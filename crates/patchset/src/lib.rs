//! Vendored native sources: exact patches between guards, the series of patches, and their liveness in compiled code.
//!
//! | module | what it does |
//! |---|---|
//! | [`library`] | reads and checks a vendor folder: [`Vendored`] |
//! | [`mod@prepare`] | a verified, patched and guarded source tree: [`Prepared`] |
//! | [`archive_facts`], [`kernels`], [`guard`] | judge the compiled archive |
//! | [`liveness`] | shows that the compiler reads each patch and that its code differs |
//! | [`series`], [`worktree`], [`bump`] | work on patches |
//! | [`codes`] | one code for each check |
//!
//! The crate fetches nothing, compiles nothing and prints nothing. Violations are [`diag::Diagnostic`] values, and all
//! violations of one patch are reported together.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod ar;
pub mod archive_facts;
pub mod behaviour;
pub mod build;
pub mod bump;
pub mod codes;
mod diff;
pub mod explain;
pub mod file_list;
pub mod guard;
mod input;
pub mod kernels;
pub mod library;
pub mod liveness;
pub mod manifest;
pub mod patch;
pub mod prepare;
pub mod refresh_plan;
mod rewrite;
pub mod series;
mod templates;
mod toml_file;
pub mod unpack;
pub mod worktree;

/// Archives for tests, also of crates that use this one.
#[cfg(any(test, feature = "fixtures"))]
pub mod archive_fixture;
#[cfg(test)]
mod fixture;

pub use codes::CODES;
pub use input::Input;
pub use library::{Vendored, VendoredPatch};
pub use prepare::{AppliedPatch, ChangedFile, Prepared, prepare};
