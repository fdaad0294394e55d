//! Ranges of the file, and who owns them.

/// A range of bytes and the index of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) owner: usize,
}

/// Cuts overlapping ranges so that each byte below `limit` has one owner: the range that starts first, then the longer one,
/// then the smaller index. Sorted by start; empty ranges are dropped.
pub(super) fn disjoint(mut ranges: Vec<Range>, limit: u64) -> Vec<Range> {
    ranges.sort_unstable_by_key(|range| (range.start, std::cmp::Reverse(range.end), range.owner));
    let mut cursor = 0;
    ranges.retain_mut(|range| {
        range.start = range.start.max(cursor);
        range.end = range.end.min(limit);
        let is_kept = range.start < range.end;
        if is_kept {
            cursor = range.end;
        }
        is_kept
    });
    ranges
}

/// Calls `rest` with the part of each range of `outer` that no range of `inner` covers. Both are disjoint and sorted.
pub(super) fn uncovered(outer: &[Range], inner: &[Range], mut rest: impl FnMut(usize, u64)) {
    let mut inner = inner.iter().copied().peekable();
    for range in outer {
        let mut covered = 0;
        while let Some(next) = inner.peek_mut().filter(|next| next.start < range.end) {
            covered += next.end.min(range.end).saturating_sub(next.start.max(range.start));
            if next.end > range.end {
                next.start = range.end;
                break;
            }
            inner.next();
        }
        rest(range.owner, range.end - range.start - covered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: u64, end: u64, owner: usize) -> Range {
        Range { start, end, owner }
    }

    #[test]
    fn gives_each_byte_to_one_owner() {
        let ranges =
            vec![range(10, 20, 0), range(0, 15, 1), range(12, 14, 2), range(0, 5, 3), range(18, 99, 4)];
        assert_eq!(disjoint(ranges, 30), [range(0, 15, 1), range(15, 20, 0), range(20, 30, 4)]);
        assert_eq!(disjoint(vec![range(u64::MAX - 1, u64::MAX, 0), range(9, 3, 1)], 30), []);
    }

    #[test]
    fn subtracts_ranges_that_cross_borders() {
        let mut rests = Vec::new();
        let outer = [range(0, 10, 0), range(10, 20, 1), range(25, 30, 2)];
        let inner = [range(2, 4, 0), range(8, 13, 1), range(19, 20, 2)];
        uncovered(&outer, &inner, |owner, bytes| rests.push((owner, bytes)));
        assert_eq!(rests, [(0, 6), (1, 6), (2, 5)]);
    }
}
