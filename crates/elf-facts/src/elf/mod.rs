//! ELF files, read twice: by goblin and by object.
//!
//! Damaged and hostile files are where readers differ. A gate with one reader can be shown one thing while the loader sees
//! another, so a difference between the two readers is an error.
//!
//! The module extracts structures. It draws no conclusions from them; [`facts`](crate::facts) does.

pub(crate) mod cross_check;
mod dynamic;
pub(crate) mod error;
mod goblin_reader;
pub(crate) mod names;
pub(crate) mod notes;
mod object_reader;
pub(crate) mod parsed;
mod relocations;
pub(crate) mod symbols;
pub(crate) mod types;
pub(crate) mod versions;
