//! Copies of the originals that mutants edit. To copy a linked file of 47 MiB takes longer than to judge it, so each thread
//! copies a file once and repairs the copy after each mutant.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::MutatedFile;

/// Bytes that are compared and repaired together.
const BLOCK_BYTES: usize = 64 << 10;

/// Copies that no thread uses at the moment. Each is equal to its original.
#[derive(Default)]
pub(super) struct Copies(Mutex<Vec<(MutatedFile, Vec<u8>)>>);

impl Copies {
    /// A copy of the original of `file`.
    pub(super) fn take(&self, file: MutatedFile, original: &[u8]) -> Vec<u8> {
        let mut free = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match free.iter().position(|(of, _)| *of == file) {
            Some(index) => free.swap_remove(index).1,
            None => {
                drop(free);
                original.to_vec()
            }
        }
    }

    /// Makes an edited copy equal to its original again and keeps it. `damage` is from [`differences`].
    pub(super) fn give_back(
        &self,
        file: MutatedFile,
        original: &[u8],
        mut copy: Vec<u8>,
        damage: &[Range<usize>],
    ) {
        copy.truncate(original.len());
        copy.extend_from_slice(&original[copy.len()..]);
        for range in damage {
            copy[range.clone()].copy_from_slice(&original[range.clone()]);
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((file, copy));
    }
}

/// The blocks in which the copy differs, up to the end of the shorter one.
pub(super) fn differences(original: &[u8], copy: &[u8]) -> Vec<Range<usize>> {
    let common = original.len().min(copy.len());
    let blocks = (0..common).step_by(BLOCK_BYTES).map(|start| start..common.min(start + BLOCK_BYTES));
    blocks.filter(|block| original[block.clone()] != copy[block.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_equal_to_its_original_after_every_kind_of_edit() {
        let original: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        let edits: [fn(&mut Vec<u8>); 5] = [
            |bytes| bytes[0] ^= 1,
            |bytes| bytes[199_999] ^= 1,
            |bytes| bytes.truncate(100_000),
            |bytes| bytes.extend_from_slice(b"appended"),
            |bytes| *bytes = vec![0; 300_000],
        ];
        let copies = Copies::default();
        for edit in edits {
            let mut copy = copies.take(MutatedFile::Linked, &original);
            assert!(copy == original);
            edit(&mut copy);
            let damage = differences(&original, &copy);
            assert!(!damage.is_empty() || copy.len() != original.len());
            copies.give_back(MutatedFile::Linked, &original, copy, &damage);
        }
        assert!(copies.take(MutatedFile::Stripped, b"other") == b"other", "one copy for each of the files");
        assert!(copies.take(MutatedFile::Linked, &original) == original);
    }
}
