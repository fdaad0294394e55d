//! Cooperative cancellation. The engine checks the flag before each chunk and each layer, with own kernels several
//! times in each product, so a cancelled call ends within the time of one layer, or of a product of 64 rows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::EngineError;

/// A cancellation flag. Clones share one flag.
///
/// ```
/// let cancel = engine::Cancel::default();
/// assert!(cancel.check().is_ok());
/// cancel.cancel();
/// assert!(cancel.is_cancelled() && cancel.check().is_err());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    /// The flags of the callers that share one call; the call stops when all of them are set.
    callers: Option<Arc<[Cancel]>>,
    /// Checks that still succeed, see [`Cancel::after_checks`].
    checks_left: Option<Arc<AtomicUsize>>,
}

impl Cancel {
    /// A flag that is also set when all flags of `callers` are set. For a call made on behalf of several callers.
    pub fn shared(callers: Vec<Cancel>) -> Cancel {
        let callers = if callers.is_empty() { None } else { Some(callers.into()) };
        Cancel { flag: Arc::default(), callers, checks_left: None }
    }

    /// A flag whose first `checks` checks succeed and whose later ones fail. Stops a call at a deterministic point, which
    /// a timer cannot do; for tests that prove how often the engine checks.
    pub fn after_checks(checks: usize) -> Cancel {
        Cancel { checks_left: Some(Arc::new(AtomicUsize::new(checks))), ..Cancel::default() }
    }

    /// Requests cancellation. The work has stopped when the cancelled call returns.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Whether cancellation was requested.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
            || self.callers.as_ref().is_some_and(|all| all.iter().all(Cancel::is_cancelled))
    }

    /// Fails with [`EngineError::Cancelled`] when cancellation was requested. Work calls this where it can stop.
    pub fn check(&self) -> Result<(), EngineError> {
        if let Some(checks_left) = &self.checks_left {
            let decrement = |left: usize| left.checked_sub(1);
            if checks_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement).is_err() {
                self.cancel();
            }
        }
        if self.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_checks_fails_from_the_given_check_on() {
        let call = Cancel::after_checks(2);
        let checks = [call.check(), call.clone().check(), call.check(), call.check()];
        assert_eq!(checks.map(|check| check.is_ok()), [true, true, false, false]);
        assert!(call.is_cancelled());
    }

    #[test]
    fn a_shared_call_is_cancelled_when_all_callers_are() {
        let callers = [Cancel::default(), Cancel::default()];
        let call = Cancel::shared(callers.to_vec());
        callers[0].cancel();
        assert!(!call.is_cancelled());
        callers[1].cancel();
        assert!(call.is_cancelled() && call.check().is_err());
        assert!(!Cancel::shared(Vec::new()).is_cancelled());
    }
}
