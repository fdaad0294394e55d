//! The size of a file by section, crate and symbol.
//!
//! Each byte of the file is counted once, so every list adds up to the size of the file: overlapping sections and symbols
//! share no byte, and bytes without an owner have entries of their own, whose names are in brackets.
//!
//! Read apart from [`facts`](crate::facts): no rule decides by it, and a rule that uses it needs addresses of symbols, which
//! the other rules do not.

mod attribution;
mod breakdown;
mod owner;

pub use breakdown::{SizeBreakdown, SizePart, UnknownSizes, largest_growth};
pub use owner::crate_of;
