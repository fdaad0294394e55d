//! The ELF gate: facts of ELF files, policies about them, and verdicts.
//!
//! - [`facts`]: bytes in, [`Facts`] out. Knows no policy. Every file is read twice, by goblin and by object; where the
//!   two disagree the file is refused with both readings.
//! - [`upx`]: the layout that UPX wraps around an ELF file, with every checksum that it holds, and the decompressors.
//! - [`policy`]: facts and a policy in, one outcome a rule out. Opens no file.
//! - [`containers`]: the ELF files inside of static libraries, tar files and images. Knows no facts.
//! - [`report`]: outcomes for people, programs and CI services.
//!
//! The gate starts no process, opens no file and knows no pipeline: bytes and evidence come from the caller, so the
//! same judgement serves a release, a test and a stranger's binary.
#![forbid(unsafe_code)]

pub mod containers;
pub mod facts;
pub mod policy;
pub mod report;
pub mod upx;

pub use facts::{Facts, FactsError, inspect, inspect_for};
pub use policy::{Date, Evidence, Policy, RuleOutcome, Severity, Stage, Verdict, judge};
pub use upx::UpxFacts;
