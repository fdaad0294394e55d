//! Whether a patch is live: not that its text is in a file, but that the compiler reads it and its code differs.
//!
//! Runs right after the build, in its tree, with the compiler calls from its log. The checks for each patch, in order: its
//! files are compiled; the preprocessor keeps every added line of code; the objects that its guard names differ from those of
//! the state before it. A repair inside an `#ifdef` that is off passes every check on text and fails the second of these.
//!
//! Only patched files are compiled again, each state once. [`crate::guard`] checks the archive; behavioural tests run programs.

mod calls;
mod lines;
mod object_code;
mod recompiler;
mod report;

pub use calls::{CompilerCall, compiler_calls};
pub use report::{LivenessReport, linked_violations, verify};

#[cfg(test)]
mod tests;
