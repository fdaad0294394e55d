//! Policies that a stranger can start with.

use super::{Policy, Stage};

impl Policy {
    /// A fully static program on musl, such as a Rust binary of a `*-linux-musl` target.
    pub fn static_musl(stage: Stage, stack_size_bytes: u64) -> Policy {
        Policy {
            stack_size_bytes: Some(stack_size_bytes),
            is_static: true,
            stripped: stage == Stage::Stripped,
            needs_round_trip: stage == Stage::Packed,
            ..Policy::default()
        }
    }
}
