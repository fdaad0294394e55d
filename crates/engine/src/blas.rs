//! Sole owner of the thread count of OpenBLAS, which is one number for the whole process.
//!
//! While several members of the thread team compute, OpenBLAS runs in each of them without threads of its own. A member
//! that computes alone, on work that cannot be divided, can request more threads (`cost_model` decides). Every member goes
//! through [`acquire`], so this holds also between several models in one process. The lock is held for the few
//! instructions of acquire and release, never across a forward pass.
//!
//! Level-3 calls can keep large arrays on the stack of the caller. The only callers are the members of `compute_team`, which
//! have an explicit stack of [`crate::stack::STACK_SIZE_BYTES`].

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Users {
    active: usize,
    /// Number of calls of [`acquire`]: shows a user whether others came after it.
    acquisitions: u64,
}

static USERS: Mutex<Users> = Mutex::new(Users { active: 0, acquisitions: 0 });

/// Permission to call OpenBLAS until dropped.
pub(crate) struct BlasGuard {
    /// The number of acquisitions when this user, as the only one, acquired the guard.
    exclusive_since: Option<u64>,
}

/// Sets OpenBLAS to one thread, or to `exclusive_threads` when no other user is active. A later user resets the count to
/// one; calls that already run complete with the threads that they have.
pub(crate) fn acquire(exclusive_threads: usize) -> BlasGuard {
    let mut users = lock();
    users.active += 1;
    users.acquisitions += 1;
    let is_exclusive = users.active == 1;
    let threads = if is_exclusive { exclusive_threads.max(1) } else { 1 };
    // Read from the library, not cached: a probe of the self-test may have set another number.
    if openblas_sys::num_threads() != threads {
        openblas_sys::set_num_threads(threads);
    }
    BlasGuard { exclusive_since: is_exclusive.then_some(users.acquisitions) }
}

/// Runs `configure` if no guard was ever acquired, and blocks the acquisition of guards meanwhile. `None` when one was.
pub(crate) fn before_first_use<T>(configure: impl FnOnce() -> T) -> Option<T> {
    let users = lock();
    (users.acquisitions == 0).then(configure)
}

/// The largest number of threads that may compute at the same time. OpenBLAS has a work area for each; too many callers would
/// end the process.
pub fn threads_max() -> NonZeroUsize {
    NonZeroUsize::new(openblas_sys::threads_max()).unwrap_or(NonZeroUsize::MIN)
}

impl BlasGuard {
    /// Whether no other user has acquired a guard since this one.
    pub fn stayed_exclusive(&self) -> bool {
        self.exclusive_since == Some(lock().acquisitions)
    }
}

impl Drop for BlasGuard {
    fn drop(&mut self) {
        lock().active -= 1;
    }
}

fn lock() -> MutexGuard<'static, Users> {
    // Each field is written at once, so a panic under the lock leaves a consistent state.
    USERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The largest block of weights that the kernels of a core pack: rows and inner length, `GEMM_P` and `GEMM_Q` of single
/// precision in OpenBLAS's `param.h`. Measurements confirm the values for the kernels of Haswell and Zen.
fn packed_block(core: &str) -> (usize, usize) {
    match core {
        "SkylakeX" | "Cooperlake" => (448, 448),
        "SapphireRapids" => (640, 320),
        _ => (320, 320),
    }
}

/// Bytes of the buffer of a thread that OpenBLAS's kernels for `core` touch in products of `(columns, inner)` weights with
/// `tokens` tokens.
///
/// Follows `driver/level3/level3.c`, which packs a block of the weights at the start of the buffer and the tokens behind it.
/// When the weights have several blocks of rows it packs all tokens, otherwise a few at a time in the same place.
pub(crate) fn packed_bytes(core: &str, products: &[(usize, usize)], tokens: usize) -> usize {
    /// Rows of a block are a multiple of this (`GEMM_UNROLL_M` of the AVX-512 kernels, the largest).
    const UNROLL: usize = 16;
    /// Tokens per step when the weights have a single block of rows.
    const STEP_TOKENS_MAX: usize = 24;
    let (rows_max, inner_max) = packed_block(core);
    // A length between one and two blocks is halved.
    let block = |len: usize, max: usize| match len {
        len if len >= 2 * max => max,
        len if len > max => (len / 2).next_multiple_of(UNROLL),
        len => len,
    };
    let (mut weights, mut activations) = (0, 0);
    for (columns, inner) in products {
        let inner = block(*inner, inner_max);
        weights = weights.max(inner * block(*columns, rows_max));
        let packed_tokens = if *columns > rows_max { tokens } else { tokens.min(STEP_TOKENS_MAX) };
        activations = activations.max(inner * packed_tokens);
    }
    size_of::<f32>() * (weights + activations)
}

/// Properties of the linked OpenBLAS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlasInfo {
    /// Version and build options, as the library reports them.
    pub config: String,
    /// The kernel family selected for this CPU.
    pub core: String,
    /// Threads that a level-3 call can currently use.
    pub threads: usize,
}

/// Queries the linked OpenBLAS.
pub fn blas_info() -> BlasInfo {
    let (config, core) = (openblas_sys::config(), openblas_sys::core_name());
    BlasInfo { config, core, threads: openblas_sys::num_threads() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_bytes_equals_the_measured_values() {
        let minilm = [(1154, 384), (384, 384), (1536, 384), (384, 1536)];
        assert_eq!(packed_bytes("Zen", &minilm, 1024), 1520 << 10);
        assert_eq!(packed_bytes("Haswell", &[(96, 32), (32, 128)], 1024), 28 << 10);
    }

    /// A loop, because other tests of this process acquire guards, too.
    #[test]
    fn a_second_user_ends_the_exclusive_use_of_the_first() {
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
        panic!("no exclusive use in 10000 attempts");
    }
}
