//! Judgement: facts, a policy and evidence in; one outcome for every enabled rule out.
//!
//! Passes are outcomes too, so that a manifest can list what was checked. "Cannot tell" is a verdict and never a pass: a rule
//! without its evidence must not look like a rule that holds.
//!
//! The module opens no file and starts no process; information beyond the file arrives as [`Evidence`].

mod check_result;
mod date;
mod diagnostics;
mod docs;
mod document;
mod evidence;
mod glibc_version;
mod judge;
mod outcome;
mod presets;
mod rule;
mod rules;
mod schema;
mod stage;
mod strictest;
mod table;
mod text;
mod validation;
mod waiver;
mod waiver_usage;

pub(crate) use check_result::{CheckResult, list};
pub use date::Date;
pub use diagnostics::{all_codes, diagnostics};
pub use docs::{codes_markdown, image_rules_markdown, rules_markdown};
pub use document::PolicyDocument;
pub use elf_facts::patterns::matches_any;
pub use evidence::{Evidence, Program};
pub use glibc_version::GlibcVersion;
pub use judge::judge;
pub use outcome::{RuleOutcome, Severity, Verdict, Waived};
pub use presets::PRESETS;
pub use rule::Rule;
pub use schema::{Policy, PolicyTable, StackSize};
pub use stage::{Stage, UnknownStage};
pub use strictest::{StrictestTable, strictest};
pub use table::{RULES, rule};
pub use text::POLICY_FILE_NAME;
pub use waiver::Waiver;
