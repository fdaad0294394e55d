//! What the readers of archive formats need from the walk, as a trait, so that they do not depend on the walk itself.

use std::io::Read;
use std::ops::ControlFlow;

use diag::{Code, Diagnostic};

use crate::codes;
use crate::containers::layers::Layers;

/// Receives the members of archives.
pub(super) trait Sink {
    /// Counts an entry of `container`; breaks when the limit is reached.
    fn enter(&mut self, container: &str) -> ControlFlow<()>;
    /// A member in memory.
    fn bytes(&mut self, name: &str, bytes: &[u8], depth: u32);
    /// A member as a stream.
    fn stream(&mut self, name: &str, reader: &mut dyn Read, depth: u32);
    /// A member, or the remainder of a container, that cannot be read.
    fn unreadable(&mut self, name: &str, diagnostic: Diagnostic);
    /// Collects the layers of an image.
    fn layers(&mut self) -> &mut Layers;
}

/// A diagnostic whose hint is the fix of its code.
pub(super) fn problem(code: &'static Code, message: impl Into<String>) -> Diagnostic {
    Diagnostic::new(code, message).hint(codes::fix(code))
}
