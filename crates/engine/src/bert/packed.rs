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

    /// Groups of adjacent sequences with at most `tokens_max` tokens each, or of one sequence that has more: the start of each
    /// sequence of the group, and the end of the last.
    pub fn groups(&self, tokens_max: usize) -> impl Iterator<Item = &[usize]> {
        let mut rest = &self.bounds[..];
        std::iter::from_fn(move || {
            let (start, ends) = rest.split_first()?;
            let fitting = ends.iter().take_while(|end| *end - start <= tokens_max).count();
            let count = fitting.max(1);
            let group = rest.get(..=count)?;
            rest = &rest[count..];
            Some(group)
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_have_all_sequences_and_no_more_tokens_than_allowed() {
        let ids = [0; 100];
        let packed = PackedSequences::new([30, 34, 1, 100, 64, 2].map(|len| &ids[..len]));
        let groups: Vec<&[usize]> = packed.groups(64).collect();
        assert_eq!(groups, [&[0, 30, 64][..], &[64, 65], &[65, 165], &[165, 229], &[229, 231]]);
        assert_eq!(PackedSequences::new([]).groups(64).count(), 0);
        assert_eq!(packed.groups(usize::MAX).count(), 1);
    }
}
