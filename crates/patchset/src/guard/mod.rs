//! Guards of a patch: required text of the source before and after it, and required references of the compiled archive.
//!
//! A guard on source text proves that text exists, not that it is compiled: the first repair of the incident behind this project
//! was inside an `#ifdef` that was off, and both of its text guards passed. So a guard also names functions whose object code
//! must or must not reference given symbols. Relocations are facts of the object format, so nothing is disassembled. Whether
//! the functions are in the linked binary is checked after the link.

mod document;
mod object;
mod pin;
mod text;

pub use document::{Guard, GuardedFile, ObjectRequirement};
pub use pin::{new_file_block, pin_digests};

#[cfg(test)]
mod tests;
