//! Whether the server has memory for another request, after an allocation has failed.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::crash;

/// The state that was logged last.
static IS_LOGGED: AtomicBool = AtomicBool::new(false);

/// False while memory is exhausted. The requests in progress use the reserve of the allocator; a new one would take their
/// memory, and without any the process ends.
pub fn has_memory() -> bool {
    if !crash::is_exhausted() {
        return true;
    }
    if !IS_LOGGED.swap(true, Ordering::AcqRel) {
        tracing::warn!(
            "memory_exhausted: an allocation failed; requests get status 503 until memory is free"
        );
    }
    let has_recovered = crash::has_recovered();
    if has_recovered && !crash::is_exhausted() && IS_LOGGED.swap(false, Ordering::AcqRel) {
        tracing::info!("memory_available");
    }
    has_recovered
}
