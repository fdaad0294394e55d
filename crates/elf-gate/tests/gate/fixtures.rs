//! Fixtures, and edits of their bytes. Offsets come from the facts, so that the tests still work with rebuilt fixtures.

use std::path::PathBuf;

use elf_gate::facts::{PT_GNU_STACK, PT_LOAD};
use elf_gate::{Facts, inspect};
use sha2::{Digest, Sha256};

pub const MIB: u64 = 1 << 20;

pub fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/elf").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn facts(bytes: &[u8]) -> Facts {
    inspect(bytes).unwrap_or_else(|error| panic!("{error}"))
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Position of a 64-bit little-endian program header.
pub struct ProgramHeader {
    at: usize,
}

impl ProgramHeader {
    pub fn of(bytes: &[u8], kind: u32) -> ProgramHeader {
        let index = facts(bytes).segments.iter().position(|segment| segment.kind_number == kind).unwrap();
        ProgramHeader { at: 64 + 56 * index }
    }

    pub fn nth(bytes: &[u8], index: usize) -> ProgramHeader {
        assert!(index < facts(bytes).segments.len());
        ProgramHeader { at: 64 + 56 * index }
    }

    pub fn stack(bytes: &[u8]) -> ProgramHeader {
        ProgramHeader::of(bytes, PT_GNU_STACK)
    }

    pub fn load(bytes: &[u8]) -> ProgramHeader {
        ProgramHeader::of(bytes, PT_LOAD)
    }

    pub fn set_kind(&self, bytes: &mut [u8], kind: u32) {
        bytes[self.at..self.at + 4].copy_from_slice(&kind.to_le_bytes());
    }

    pub fn set_flags(&self, bytes: &mut [u8], flags: u32) {
        bytes[self.at + 4..self.at + 8].copy_from_slice(&flags.to_le_bytes());
    }

    pub fn set_file_size(&self, bytes: &mut [u8], size_bytes: u64) {
        bytes[self.at + 32..self.at + 40].copy_from_slice(&size_bytes.to_le_bytes());
    }

    pub fn set_align(&self, bytes: &mut [u8], align: u64) {
        bytes[self.at + 48..self.at + 56].copy_from_slice(&align.to_le_bytes());
    }

    pub fn set_memory_size(&self, bytes: &mut [u8], size_bytes: u64) {
        bytes[self.at + 40..self.at + 48].copy_from_slice(&size_bytes.to_le_bytes());
    }
}

pub fn edited(name: &str, edit: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = fixture(name);
    let before = bytes.clone();
    edit(&mut bytes);
    assert_ne!(bytes, before, "the edit changes no byte");
    bytes
}
