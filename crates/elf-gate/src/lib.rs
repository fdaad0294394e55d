//! The ELF gate: facts about ELF files, policies, and outcomes.
//!
//! - [`facts`]: bytes in, [`Facts`] out; contains no policy. goblin and object both read every file, and a file on which they
//!   differ is rejected with both values.
//! - [`size`]: the size of a file by section, crate and symbol.
//! - [`upx`]: the layout that UPX writes around an ELF file, with its checksums and decompressors.
//! - [`policy`]: facts and a policy in, one outcome for each rule out; opens no file.
//! - [`containers`]: the ELF files inside of static libraries, tar files and images.
//! - [`image`]: rules on images: a program and the layers around it.
//! - [`report`]: outcomes as text, JSON, SARIF, JUnit and GitHub annotations.
//! - [`codes`]: the error codes.
//! - `cli` (feature `cli`): the command line of the binary `elf-gate`.
//!
//! Without the feature `cli` the gate starts no process, opens no file and depends on no pipeline: bytes and evidence come from
//! the caller, so that a release, a test and the command line get the same judgement.
//!
//! ```
//! use elf_gate::{Evidence, Policy, Stage, Verdict, inspect, judge};
//!
//! # let bytes = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/elf/static-pie")).unwrap();
//! let facts = inspect(&bytes)?;
//! let policy = Policy::preset("static-pie-musl", Stage::Stripped).unwrap();
//! let outcomes = judge(&facts, Stage::Stripped, &policy, &Evidence::default());
//! assert!(outcomes.iter().all(|outcome| outcome.effective() == Verdict::Pass));
//! # Ok::<(), elf_gate::FactsError>(())
//! ```
#![warn(missing_docs)]
#![deny(unsafe_code)]

#[cfg(feature = "cli")]
pub mod cli;
pub mod codes;
pub mod containers;
pub mod image;
pub mod policy;
pub mod report;

pub use elf_facts::{facts, size, upx};
pub use facts::{Facts, FactsError, inspect, inspect_for};
pub use policy::{Date, Evidence, Policy, RuleOutcome, Severity, Stage, Verdict, judge};
pub use upx::UpxFacts;
