//! The gate on real files: every rule with one file that it must pass and one that it must catch, mutants of packed
//! files, and bytes that nobody should send.

mod bytes;
mod catalogue;
mod containers;
mod hostile;
mod packed;
mod policies;
mod readings;
mod regressions;
mod report;
mod rules;
mod table;
