//! Reports: the outcomes of many files as text, JSON, SARIF, JUnit and GitHub annotations.
//!
//! The module renders text and opens no file; callers write the text to its destination.

mod diff;
mod github;
mod human;
mod junit;
mod model;
mod render;
mod sarif;
mod size;
mod text;

pub use diff::{Change, Diff, DiffSide, SegmentShape, SymbolChanges};
pub use human::Style;
#[cfg(feature = "cli")]
pub(crate) use text::{printable, sanitized};

pub use model::{FileReport, FileState, GateReport, PolicySource, PolicyUse, SCHEMA_VERSION, Summary, Tool};
pub use size::SizeReport;
