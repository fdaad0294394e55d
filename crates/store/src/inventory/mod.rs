//! The content of the cache: what it holds, whether it matches its records, and what can be removed. For `cargo xtask cache`.
//!
//! Listing and verifying change nothing. Removal takes the lock of each entry and skips entries that another process uses.

mod gc;
mod info;
mod list;
mod verify;

pub use gc::{GcCandidate, GcPolicy, gc_candidates, remove};
pub use info::{CacheItem, CacheItemKind, CacheItemState};
pub use list::list;
pub use verify::{Verification, in_use, verify};

#[cfg(test)]
mod tests;
