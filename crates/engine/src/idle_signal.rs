//! Notification that a running call has left a member of the thread team idle.

use std::fmt;
use std::sync::Arc;

/// A callback that a call runs when it leaves a member of the thread team idle: all of its chunks have started and at
/// least one member has nothing to do.
///
/// A scheduler forms the next batch at this moment. A batch that is formed earlier only waits for the
/// members, where requests that arrive later can neither join nor overtake it.
///
/// The default signal has no callback.
///
/// ```
/// let (sender, receiver) = std::sync::mpsc::channel();
/// let idle = engine::IdleSignal::new(move || drop(sender.send(())));
/// idle.notify();
/// assert!(receiver.try_recv().is_ok());
/// ```
#[derive(Clone, Default)]
pub struct IdleSignal {
    callback: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl IdleSignal {
    /// A signal that runs `callback`, possibly several times and from several threads.
    pub fn new(callback: impl Fn() + Send + Sync + 'static) -> IdleSignal {
        IdleSignal { callback: Some(Arc::new(callback)) }
    }

    /// Runs the callback.
    pub fn notify(&self) {
        if let Some(callback) = &self.callback {
            callback();
        }
    }
}

impl fmt::Debug for IdleSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdleSignal").field("has_callback", &self.callback.is_some()).finish()
    }
}
