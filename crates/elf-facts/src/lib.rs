//! Facts about ELF files: bytes in, facts out. Contains no policy, opens no file and starts no process.
//!
//! - [`facts`]: what a file is and contains. goblin and object both read every file, and a file on which they differ is
//!   rejected with both values.
//! - [`upx`]: the layout that UPX writes around an ELF file, with its checksums and decompressors.
//! - [`patterns`]: patterns of names, matched against symbol tables.
//! - [`size`]: the size of a file by section, crate and symbol.
//! - [`codes`]: the error codes.
//!
//! A crate of its own, because it is the part of the gate that reads every byte: the development profile optimises this
//! crate and compiles the rest of the gate without optimisation.
#![deny(missing_docs, unsafe_code)]

pub mod bytes;
pub mod codes;
mod elf;
pub mod facts;
pub mod patterns;
pub mod size;
pub mod upx;
