//! Rules on images: what the program needs from the image, and what the merged layers contain.
//!
//! The needs follow from the names of functions and crates in the program. A stripped or packed program has none, so its names
//! come from the linked file or the debug file of the same build.

mod evidence;
mod judge;
mod names;
mod policy;
mod rules;

pub use evidence::{ImageEvidence, Program};
pub use judge::judge;
pub use names::Names;
pub use policy::ImagePolicy;
pub use rules::{RULES, Rule, rule};
