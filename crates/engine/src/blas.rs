//! The one owner of OpenBLAS's thread count, which is one number for the whole process.
//!
//! The rule: while several of our workers compute, BLAS runs in each of them without threads of its own; a worker that
//! computes alone, on work that cannot be split over workers, may ask for more (`lone` decides). Every worker enters and
//! leaves through [`enter`], so the rule is kept also between several models in one process. The lock is held for
//! the few instructions of entering and leaving, never across a forward pass.
//!
//! Stacks: level-3 calls may keep large arrays on the caller's stack. The only callers are the threads of `workers`,
//! which have [`CALLER_STACK_BYTES`].

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Stack of every thread of ours that calls BLAS; the same 8 MiB that musl's ceiling gives to OpenBLAS's own workers.
pub(crate) const CALLER_STACK_BYTES: usize = 8 << 20;

struct Callers {
    active: usize,
    /// How often anyone has entered: tells a caller whether it stayed alone.
    entered: u64,
}

static CALLERS: Mutex<Callers> = Mutex::new(Callers { active: 0, entered: 0 });

/// Right to call BLAS until dropped.
pub(crate) struct BlasGuard {
    /// The count of entries when this one, alone, was let in.
    exclusive_since: Option<u64>,
}

/// Enters with BLAS on one thread, or on `exclusive_threads` when nobody else computes now. One that enters later takes the
/// threads away again: calls that have begun end with what they have.
pub(crate) fn acquire(exclusive_threads: usize) -> BlasGuard {
    let mut callers = lock();
    callers.active += 1;
    callers.entered += 1;
    let alone = callers.active == 1;
    let threads = if alone { exclusive_threads.max(1) } else { 1 };
    // Asked, not remembered: a probe of ours may have set another number meanwhile.
    if openblas_sys::num_threads() != threads {
        openblas_sys::set_num_threads(threads);
    }
    BlasGuard { exclusive_since: alone.then_some(callers.entered) }
}

impl BlasGuard {
    /// Whether nobody else has computed since this caller entered.
    pub fn stayed_exclusive(&self) -> bool {
        self.exclusive_since == Some(lock().entered)
    }
}

impl Drop for BlasGuard {
    fn drop(&mut self) {
        lock().active -= 1;
    }
}

fn lock() -> MutexGuard<'static, Callers> {
    // A panic between lock and unlock can leave no half-made state: each field is written whole.
    CALLERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How large a block of weights a kernel set packs, at most: rows and inner length, `GEMM_P` and `GEMM_Q` of single
/// precision in its `param.h`. The kernels of Haswell and Zen were measured to touch what follows from theirs.
fn packed_block(core: &str) -> (usize, usize) {
    match core {
        "SkylakeX" | "Cooperlake" => (448, 448),
        "SapphireRapids" => (640, 320),
        _ => (320, 320),
    }
}

/// Bytes of a thread's buffer that OpenBLAS's kernels for `core` touch in products of `(columns, inner)` weights with so many
/// tokens.
///
/// Follows `driver/level3/level3.c`: a block of the weights is packed at the start of the buffer, the tokens behind it. Tokens
/// are packed whole when the weights have several blocks of rows; with a single one, some at a time in the same place.
pub(crate) fn packed_bytes(core: &str, products: &[(usize, usize)], tokens: usize) -> usize {
    /// Rows of a block are a multiple of this (`GEMM_UNROLL_M` of the AVX-512 kernels, the largest).
    const UNROLL: usize = 16;
    /// Tokens at a time, at most.
    const TOKENS_AT_ONCE: usize = 24;
    let (rows_max, inner_max) = packed_block(core);
    // As much as twice the block in one go, halved when a little more.
    let block = |len: usize, max: usize| match len {
        len if len >= 2 * max => max,
        len if len > max => (len / 2).next_multiple_of(UNROLL),
        len => len,
    };
    let (mut weights, mut activations) = (0, 0);
    for (columns, inner) in products {
        let inner = block(*inner, inner_max);
        weights = weights.max(inner * block(*columns, rows_max));
        activations =
            activations.max(inner * if *columns > rows_max { tokens } else { tokens.min(TOKENS_AT_ONCE) });
    }
    size_of::<f32>() * (weights + activations)
}

/// What the linked OpenBLAS says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlasInfo {
    /// Version and build options, as the library prints them.
    pub config: String,
    /// The kernel family chosen for this CPU.
    pub core: String,
    /// Threads that a level-3 call may use at this moment.
    pub threads: usize,
}

pub fn blas_info() -> BlasInfo {
    let (config, core) = (openblas_sys::config(), openblas_sys::core_name());
    BlasInfo { config, core, threads: openblas_sys::num_threads() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bytes_are_what_was_measured() {
        let minilm = [(1154, 384), (384, 384), (1536, 384), (384, 1536)];
        assert_eq!(packed_bytes("Zen", &minilm, 1024), 1520 << 10);
        assert_eq!(packed_bytes("Haswell", &[(96, 32), (32, 128)], 1024), 28 << 10);
    }

    /// One test, because the state is the process's: others in this binary enter too, and hence the loop.
    #[test]
    fn a_second_caller_ends_the_first_ones_solitude() {
        for _ in 0..10_000 {
            let first = acquire(1);
            if !first.stayed_exclusive() {
                continue;
            }
            let second = acquire(4);
            assert!(!first.stayed_exclusive());
            assert!(!second.stayed_exclusive());
            return;
        }
        panic!("never alone in 10000 attempts");
    }
}
