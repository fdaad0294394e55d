//! Cuts one call into chunks: the unit of work of a worker, and the bound of its memory.
//!
//! Without padding a chunk may mix lengths freely, so the only aims are equal work for each worker and chunks large
//! enough that OpenBLAS's repacking of the weights (once a product) is small beside the product.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Upper bound of a chunk's tokens, and so of a worker's scratch memory. Measured with MiniLM on two cores, texts a second:
/// 512: 159, 1024: 171, 2048: 157, 4096: 150. Smaller repacks weights too often, larger leaves the second-level cache.
pub(crate) const CHUNK_TOKENS_MAX: usize = 1024;

/// Indices of the texts of each chunk, given the token count of each text, none above `longest_max`.
pub(crate) fn chunks(lengths: &[usize], longest_max: usize, workers: usize) -> Vec<Vec<usize>> {
    if lengths.is_empty() {
        return Vec::new();
    }
    // Filling the lightest chunk first never exceeds the average by more than one text: aim that much lower.
    let aim = CHUNK_TOKENS_MAX.saturating_sub(longest_max).max(1);
    let total: usize = lengths.iter().sum();
    let count = total.div_ceil(aim).next_multiple_of(workers.max(1)).min(lengths.len());

    // Longest first, each to the chunk with the least work so far.
    let mut longest_first: Vec<usize> = (0..lengths.len()).collect();
    longest_first.sort_by_key(|i| Reverse(lengths[*i]));
    let mut chunks = vec![Vec::new(); count];
    let mut loads: BinaryHeap<Reverse<(usize, usize)>> =
        (0..count).map(|chunk| Reverse((0, chunk))).collect();
    for i in longest_first {
        if let Some(Reverse((load, chunk))) = loads.pop() {
            chunks[chunk].push(i);
            loads.push(Reverse((load + lengths[i], chunk)));
        }
    }
    chunks
}

/// Tokens of the largest chunk that calls of at most `call_tokens` can give.
pub(crate) fn chunk_tokens_bound(call_tokens: usize, longest_max: usize, workers: usize) -> usize {
    let even_share = call_tokens.div_ceil(workers.max(1)) + longest_max;
    even_share.min(call_tokens.max(longest_max)).min(CHUNK_TOKENS_MAX.max(longest_max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(chunk: &[usize], lengths: &[usize]) -> usize {
        chunk.iter().map(|i| lengths[*i]).sum()
    }

    #[test]
    fn every_text_is_in_one_chunk_and_no_chunk_exceeds_the_bound() {
        for (texts, workers) in [(1, 1), (1, 8), (2, 2), (7, 3), (256, 2), (5000, 4)] {
            let lengths: Vec<usize> = (0..texts).map(|i| 2 + (i * 7919) % 255).collect();
            let chunks = chunks(&lengths, 256, workers);
            let mut seen: Vec<usize> = chunks.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..texts).collect::<Vec<_>>());
            for chunk in &chunks {
                assert!(!chunk.is_empty());
                assert!(load(chunk, &lengths) <= CHUNK_TOKENS_MAX, "{texts} texts, {workers} workers");
            }
        }
    }

    #[test]
    fn no_chunk_is_larger_than_the_memory_estimate_says() {
        for (texts, workers) in [(1, 1), (1, 8), (3, 2), (40, 3), (300, 2)] {
            let lengths: Vec<usize> = (0..texts).map(|i| 2 + (i * 7919) % 255).collect();
            let bound = chunk_tokens_bound(lengths.iter().sum(), 256, workers);
            for chunk in chunks(&lengths, 256, workers) {
                assert!(load(&chunk, &lengths) <= bound, "{texts} texts, {workers} workers");
            }
        }
    }

    #[test]
    fn work_is_spread_evenly() {
        let lengths: Vec<usize> = (0..256).map(|i| 10 + (i * 37) % 120).collect();
        let chunks = chunks(&lengths, 256, 2);
        assert_eq!(chunks.len() % 2, 0);
        let loads: Vec<usize> = chunks.iter().map(|c| load(c, &lengths)).collect();
        assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= 130, "{loads:?}");
    }

    #[test]
    fn two_texts_keep_two_workers_busy() {
        assert_eq!(chunks(&[100, 90], 256, 2).len(), 2);
        assert_eq!(chunks(&[100], 256, 2).len(), 1);
        assert!(chunks(&[], 256, 2).is_empty());
    }

    #[test]
    fn a_model_with_texts_longer_than_the_bound_still_gets_chunks() {
        assert_eq!(chunks(&[8192, 8192], 8192, 2).len(), 2);
    }
}
