//! The crates of the product, and what the linked file shows of them. The stage `link` compares the two;
//! the stage `publish` writes the result into the bills of materials. docs/sbom.md defines the evidence.

mod crates;
pub(crate) mod dep_v0;
mod linked;
mod traces;

pub use self::crates::{Crate, CrateId, Crates};
pub use self::linked::LinkedCrates;
pub(crate) use self::linked::{Evidence, functions_of, require_linked};
pub(crate) use self::traces::Traces;
