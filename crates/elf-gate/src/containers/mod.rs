//! ELF files inside of archives: static libraries, tar files, packages, and images with their layers.
//!
//! Bytes in, names and contents out. One member is in memory at a time, and nothing is written to disk. Sizes, counts and names
//! that a format declares are not trusted: [`WalkLimits`] bound the work, and content beyond them is reported as
//! [`Content::Unreadable`], which is never a pass.
//!
//! Every ELF file of every layer of an image is reported, because all layers are shipped. The result lists the files that
//! upper layers hide.

mod ar;
mod content;
mod entry;
mod format;
mod image;
mod layers;
mod limited_reader;
mod sink;
mod tar_stream;
mod walk;
mod zstd;

pub use content::{Content, WalkLimits};
pub use format::Format;
pub use image::{ImageProgram, MergedImage};
pub use layers::HiddenFile;
pub use walk::{Walked, walk};
