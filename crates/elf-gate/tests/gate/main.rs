//! The gate on real files: for every rule a file that passes and a file that violates it, edits of packed files, and untrusted
//! bytes.

mod containers;
mod docs;
mod every_rule;
mod fixtures;
mod header_edits;
#[path = "../support/image_archive.rs"]
mod image_archive;
mod images;
mod packed;
mod policies;
mod readers;
mod report;
mod rules;
mod sizes;
mod strictest;
mod untrusted_bytes;
mod upx_by_hand;
mod upx_versions;
