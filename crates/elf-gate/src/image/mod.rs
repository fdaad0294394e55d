//! Rules on images: what the program needs from its surroundings, and what the merged layers contain.
//!
//! The needs follow from the names of functions and crates in the program. A stripped or packed program has none, so its names
//! come from the linked file or the debug file of the same build.

mod judge;
mod names;
mod policy;
mod rules;

pub use judge::{ImageEvidence, Program, judge};
pub use names::Names;
pub use policy::ImagePolicy;
pub use rules::{RULES, Rule, rule};
