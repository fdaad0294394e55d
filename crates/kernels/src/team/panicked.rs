//! The error of a region.

use std::any::Any;
use std::fmt;

/// A member of a region panicked. The panic hook has reported the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberPanicked {
    message: Option<String>,
}

impl MemberPanicked {
    pub(super) fn new(payload: Box<dyn Any + Send>) -> MemberPanicked {
        let message = match payload.downcast::<String>() {
            Ok(message) => Some(*message),
            Err(payload) => payload.downcast_ref::<&str>().map(|message| (*message).to_owned()),
        };
        MemberPanicked { message }
    }

    /// The message of the first member that panicked, when it is a text.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

impl fmt::Display for MemberPanicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member of the thread team panicked")?;
        self.message.iter().try_for_each(|message| write!(f, ": {message}"))
    }
}

impl std::error::Error for MemberPanicked {}
