//! A flag that stops a call: looked at before each chunk and before each layer, so work ends within one layer's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::error::EngineError;

/// Cloned freely; all clones are one flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    flag: Arc<AtomicBool>,
    /// Callers who share one call: it stops when none of them wants it any more.
    sharers: Option<Arc<[Cancel]>>,
    /// Looks that still see nothing, see [`Cancel::after_looks`].
    looks: Option<Arc<AtomicUsize>>,
}

impl Cancel {
    /// A flag that is also set when all of `sharers` are. For a call made on behalf of several callers.
    pub fn shared(sharers: Vec<Cancel>) -> Cancel {
        let sharers = if sharers.is_empty() { None } else { Some(sharers.into()) };
        Cancel { flag: Arc::default(), sharers, looks: None }
    }

    /// A flag that lets the work look `looks` times and is set from then on. Stops a call in a known place, which no
    /// clock does: whoever proves that the work looks often enough needs that.
    pub fn after_looks(looks: usize) -> Cancel {
        Cancel { looks: Some(Arc::new(AtomicUsize::new(looks))), ..Cancel::default() }
    }

    /// Asks the work to stop. It has stopped when the call returns.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
            || self.sharers.as_ref().is_some_and(|all| all.iter().all(Cancel::is_cancelled))
    }

    /// What the work calls where it can stop.
    pub fn look(&self) -> Result<(), EngineError> {
        if let Some(looks) = &self.looks
            && looks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_err()
        {
            self.cancel();
        }
        if self.is_cancelled() { Err(EngineError::Cancelled) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_looks_passes_and_all_later_ones_do_not() {
        let call = Cancel::after_looks(2);
        let looks = [call.look(), call.clone().look(), call.look(), call.look()];
        assert_eq!(looks.map(|look| look.is_ok()), [true, true, false, false]);
        assert!(call.is_cancelled());
    }

    #[test]
    fn a_shared_call_stops_when_the_last_caller_is_gone() {
        let callers = [Cancel::default(), Cancel::default()];
        let call = Cancel::shared(callers.to_vec());
        callers[0].cancel();
        assert!(!call.is_cancelled());
        callers[1].cancel();
        assert!(call.is_cancelled() && call.look().is_err());
        assert!(!Cancel::shared(Vec::new()).is_cancelled());
    }
}
