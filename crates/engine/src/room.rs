//! Tells the caller of a batch that a worker is idle, before the batch has ended.

use std::fmt;
use std::sync::Arc;

/// Reached when a call leaves a worker idle: whatever is left of it runs, and nothing of it waits. It is the moment to form
/// the next batch. Formed earlier it would only wait inside, where those who come later can neither join it nor pass it.
#[derive(Clone, Default)]
pub struct Room(Option<Arc<dyn Fn() + Send + Sync>>);

impl Room {
    /// `tell` may be called several times, from several threads.
    pub fn tell(tell: impl Fn() + Send + Sync + 'static) -> Room {
        Room(Some(Arc::new(tell)))
    }

    pub fn reached(&self) {
        if let Some(tell) = &self.0 {
            tell();
        }
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Room(told)" } else { "Room(nobody asks)" })
    }
}
