//! The user's cache: tools, sources and native builds, each entry named by a digest of its inputs.
//!
//! An entry is made in a staging folder beside its final place and renamed into it when it is complete, under a lock between
//! processes, so an incomplete entry never has a final name. A hit is verified by digest, or by the inodes, sizes and
//! change times of files that were verified before; an entry that does not match its
//! record is removed, reported as a warning, and made again. A [`Store`] keeps a shared lock on each entry that it returned
//! until it is dropped, so no other process removes it. [`inventory`] lists, verifies and removes entries.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod atomic_write;
mod codes;
mod contents;
mod digest;
mod entry;
pub mod inventory;
mod layout;
mod lock;
mod record;
mod store;
mod unchanged;
mod write_error;

pub use self::codes::{CANNOT_WRITE, CODES, ENTRY_CHANGED, ENTRY_IN_USE, ENTRY_REMOVED};
pub use self::contents::files_below;
pub use self::digest::{Digest, Fingerprint, is_sha256_hex, sha256_hex};
pub use self::entry::CacheEntry;
pub use self::lock::{lock_exclusive, lock_folder};
pub use self::record::Record;
pub use self::store::Store;
pub use self::write_error::cannot_write;
