use super::*;

/// Lengths of rows around the width of one and of two vectors, and long ones.
const LENGTHS: [usize; 13] = [1, 2, 3, 15, 16, 17, 31, 32, 33, 100, 256, 511, 8192];
const CANARY: f32 = 7.5;

/// Scores from -150 to 150: without the subtraction of the largest one, exp overflows.
fn scores(rows: usize, valid: usize) -> Vec<f32> {
    (0..rows * valid).map(|i| ((i * 37) % 101) as f32 * 3.0 - 150.0).collect()
}

/// Runs the kernel on rows that have garbage beyond `valid` and canaries between them; the padded rows and the canaries.
fn run(isa: Isa, scores: &[f32], valid: usize) -> (Vec<f32>, Vec<f32>) {
    let (rows, columns) = (scores.len() / valid, valid.next_multiple_of(LANES) + LANES);
    let stride = columns + 3;
    let mut data = vec![CANARY; rows * stride];
    for (row, scores) in data.chunks_exact_mut(stride).zip(scores.chunks_exact(valid)) {
        row[..valid].copy_from_slice(scores);
        row[valid..columns].fill(f32::NAN);
    }
    softmax(isa, MatrixMut::new(&mut data, rows, columns, stride), valid);
    let split = data.chunks_exact(stride).map(|row| row.split_at(columns));
    let (values, canaries): (Vec<_>, Vec<_>) = split.unzip();
    (values.concat(), canaries.concat())
}

/// Whether each row is the softmax of its scores to within rounding, and 0 beyond them.
fn is_softmax(found: &[f32], scores: &[f32], valid: usize) -> bool {
    let columns = valid.next_multiple_of(LANES) + LANES;
    found.chunks_exact(columns).zip(scores.chunks_exact(valid)).all(|(found, scores)| {
        let largest = scores.iter().copied().fold(f32::MIN, f32::max);
        let exact: Vec<f64> = scores.iter().map(|s| (f64::from(*s) - f64::from(largest)).exp()).collect();
        let sum: f64 = exact.iter().sum();
        let close =
            |found: &f32, exact: &f64| (f64::from(*found) - exact / sum).abs() < 1e-6 * exact / sum + 1e-30;
        found.iter().zip(&exact).all(|(found, exact)| close(found, exact))
            && found[valid..].iter().all(|v| *v == 0.0)
    })
}

#[test]
fn rows_equal_their_definition_for_every_length_on_every_set() {
    for isa in Isa::available() {
        for valid in LENGTHS {
            let scores = scores(3, valid);
            let (found, canaries) = run(*isa, &scores, valid);
            assert!(is_softmax(&found, &scores, valid), "{isa}, {valid} columns");
            assert!(canaries.iter().all(|v| *v == CANARY), "{isa}, {valid} columns");
        }
    }
}

#[test]
fn the_check_reports_a_missing_column_a_wrong_sum_and_a_wrong_value() {
    for valid in [2, 16, 33] {
        let scores: Vec<f32> = scores(3, valid).iter().map(|s| s / 100.0).collect();
        let (right, _) = run(Isa::BASELINE, &scores, valid);
        assert!(is_softmax(&right, &scores, valid));
        // The last column is not part of the sum.
        let short: Vec<f32> = scores.chunks_exact(valid).flat_map(|row| &row[..valid - 1]).copied().collect();
        let (found, _) = run(Isa::BASELINE, &short, valid - 1);
        let columns = (valid - 1).next_multiple_of(LANES) + LANES;
        let mut padded = right.clone();
        for (to, from) in padded.chunks_exact_mut(right.len() / 3).zip(found.chunks_exact(columns)) {
            to[..valid].copy_from_slice(&from[..valid]);
        }
        assert!(!is_softmax(&padded, &scores, valid), "{valid}");
        let scaled: Vec<f32> = right.iter().map(|v| v * 1.00001).collect();
        assert!(!is_softmax(&scaled, &scores, valid), "{valid}");
        let mut unused = right.clone();
        unused[valid] = 1.6e-38;
        assert!(!is_softmax(&unused, &scores, valid), "{valid}");
    }
}

#[test]
fn a_nan_or_an_infinite_score_stays_in_its_row() {
    for isa in Isa::available() {
        for valid in [1, 16, 17, 40] {
            for (bad, at) in [(f32::NAN, 0), (f32::NAN, valid - 1), (f32::INFINITY, valid / 2)] {
                let clean = scores(3, valid);
                let mut dirty = clean.clone();
                dirty[valid + at] = bad;
                let ((clean, _), (found, _)) = (run(*isa, &clean, valid), run(*isa, &dirty, valid));
                let columns = found.len() / 3;
                assert!(found[columns..][..valid].iter().all(|v| v.is_nan()), "{isa} {valid} {bad}");
                assert_eq!(found[..columns], clean[..columns], "{isa} {valid} {bad}");
                assert_eq!(found[2 * columns..], clean[2 * columns..], "{isa} {valid} {bad}");
            }
        }
    }
}

#[test]
fn sets_with_fma_have_equal_bits() {
    let fma: Vec<Isa> = Isa::available().iter().copied().filter(|isa| *isa != Isa::BASELINE).collect();
    for pair in fma.windows(2) {
        for valid in LENGTHS {
            let scores: Vec<f32> = scores(2, valid).iter().map(|s| s / 17.0).collect();
            assert_eq!(run(pair[0], &scores, valid), run(pair[1], &scores, valid), "{pair:?} {valid}");
        }
    }
}
