//! The input of a forward pass.

use std::ops::Range;

/// Token ids of several sequences, one after another, without padding.
pub(crate) struct PackedSequences {
    ids: Vec<u32>,
    /// The start of each sequence, and the end of the last.
    bounds: Vec<usize>,
}

impl PackedSequences {
    pub fn new<'a>(sequences: impl IntoIterator<Item = &'a [u32]>) -> PackedSequences {
        let mut packed = PackedSequences { ids: Vec::new(), bounds: vec![0] };
        for sequence in sequences {
            packed.ids.extend_from_slice(sequence);
            packed.bounds.push(packed.ids.len());
        }
        packed
    }

    pub fn token_count(&self) -> usize {
        self.ids.len()
    }

    /// The tokens of each sequence.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        self.bounds.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// The ids of each sequence.
    pub fn sequences(&self) -> impl Iterator<Item = &[u32]> {
        self.ranges().map(|range| &self.ids[range])
    }

    /// Tokens of the longest sequence.
    pub fn longest(&self) -> usize {
        self.ranges().map(|range| range.len()).max().unwrap_or(0)
    }
}
