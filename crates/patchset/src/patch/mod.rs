//! Patch files: a header that gives the reason, then a unified diff, applied with zero fuzz and zero offset.
//!
//! Own code, because the usual tools guess: `patch` moves hunks and drops context, and both can put a change where it has no
//! effect. Here a patch fits exactly, or it is refused with one of three reasons that need different work: it is already
//! applied, its text moved, or the text that it changes is gone. A patch changes existing files only. Nothing here opens a
//! file.

mod apply;
mod fit;
mod model;
mod parse;

pub use apply::Refusal;
pub use fit::{DiffFit, HunkFit};
pub use model::{FileDiff, HEADER_KEYS, Patch};

#[cfg(test)]
mod tests;
