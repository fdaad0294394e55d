//! What machine code requires: vector registers, and instruction-set extensions of x86-64 and aarch64.
//!
//! Bytes in, facts out: no policy, no file, no process. A crate of its own, because the verification of native libraries
//! (`patchset`) and the gate (`elf-gate`) both decode instructions, and the development profile optimises it.
//!
//! ```
//! use disasm::{Baseline, beyond_baseline};
//!
//! # let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/elf/linked")).unwrap();
//! let baseline = Baseline::parse(["x86-64-v1"])?;
//! let code = beyond_baseline(&bytes, &baseline).unwrap();
//! assert!(code.functions.is_empty());
//! # Ok::<(), disasm::UnknownFeature>(())
//! ```
#![warn(missing_docs)]
#![deny(unsafe_code)]

mod aarch64;
mod baseline;
mod functions;
mod loops;
mod scan;
mod vectors;
mod x86_64;

pub use baseline::{Baseline, UnknownFeature};
pub use loops::{FunctionLoops, VectorLoop, vector_loops};
pub use scan::{CodeFacts, CodeProblem, FunctionFacts, beyond_baseline};
pub use vectors::{VectorWidth, widest_registers};
