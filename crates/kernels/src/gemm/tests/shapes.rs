//! All shapes at which a tile, a panel or a block ends, on every set.

use super::case::Case;
use super::*;

const ROWS: [usize; 33] = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 33, 34, 36,
    37, 63, 64, 65,
];
const COLUMNS: [usize; 8] = [1, 15, 16, 17, 31, 33, 1154, 1536];
const INNER: [usize; 9] = [0, 1, 2, 3, 31, 32, 33, 384, 1536];
/// Larger products are left out: the exact result takes most of the time.
const MULTIPLY_ADDS_MAX: usize = 16 << 20;

/// Each pair of columns and inner with some numbers of rows, so that each number of rows meets small and large pairs.
fn cases() -> impl Iterator<Item = Case> {
    let pairs = COLUMNS.into_iter().flat_map(|columns| INNER.map(|inner| (columns, inner)));
    pairs.enumerate().flat_map(|(i, (columns, inner))| {
        (0..6).filter_map(move |j| {
            let rows = ROWS[(i * 7 + j * 11) % ROWS.len()];
            (rows * columns * inner <= MULTIPLY_ADDS_MAX).then(|| Case::new(rows, columns, inner, j % 3 * 5))
        })
    })
}

#[test]
fn products_are_within_the_bound_on_every_set() {
    let mut row_counts = Vec::new();
    for case in cases() {
        row_counts.push(case.rows);
        for isa in Isa::available() {
            let checked = case.check(&|x, weight, bias, out| {
                let w = pack(weight, bias);
                gemm_f32(*isa, x, &w, 0..w.panels(), Epilogue::Store, out);
            });
            assert_eq!(checked, Ok(()), "{isa}: {case}");
        }
    }
    assert!(ROWS.iter().all(|rows| row_counts.contains(rows)), "tested: {row_counts:?}");
}

/// With whole panels and with last columns, with more and with fewer rows of `b` than are copied at once.
#[test]
fn unpacked_products_are_within_the_bound_on_every_set() {
    for (i, rows) in ROWS.into_iter().enumerate() {
        for columns in [1, 15, 16, 17, 32, 49, 64] {
            let case = Case::new(rows, columns, [0, 1, 63, 64, 65, 150][(i + columns) % 6], i % 3 * 5);
            for isa in Isa::available() {
                let checked = case.check(&|x, weight, bias, out| {
                    // `[x, 1] * [weight^T; bias]` is the same product without a bias.
                    let a: Vec<f32> = (0..x.rows()).flat_map(|row| [x.row(row), &[1.0]].concat()).collect();
                    let of_k = |k: usize| (0..columns).map(move |column| weight.row(column)[k]);
                    let b: Vec<f32> = (0..case.inner).flat_map(of_k).chain(bias.iter().copied()).collect();
                    let a = Matrix::new(&a, rows, case.inner + 1, case.inner + 1);
                    let b = guarded::Guarded::new(&b);
                    gemm_unpacked(*isa, a, Matrix::new(&b, case.inner + 1, columns, columns), out);
                });
                assert_eq!(checked, Ok(()), "{isa}: {case}");
            }
        }
    }
}

#[test]
fn a_nan_stays_in_its_row() {
    let case = Case::new(25, 33, 40, 0);
    let w = pack(case.weight(), case.bias());
    for isa in Isa::available() {
        for row in 0..case.rows {
            let mut x: Vec<f32> = (0..case.rows).flat_map(|row| case.x().row(row).to_vec()).collect();
            x[row * case.inner + 7] = f32::NAN;
            let mut out = vec![0.0; case.rows * case.columns];
            let view = MatrixMut::new(&mut out, case.rows, case.columns, case.columns);
            let x = Matrix::new(&x, case.rows, case.inner, case.inner);
            gemm_f32(*isa, x, &w, 0..w.panels(), Epilogue::Gelu, view);
            for (i, value) in out.iter().enumerate() {
                assert_eq!(value.is_nan(), i / case.columns == row, "{isa}: element {i}, NaN in row {row}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "[2, 3] * [4, 5] into [2, 5]")]
fn operands_that_do_not_match_are_refused_with_their_shapes() {
    let w = pack(Matrix::new(&[0.0; 20], 5, 4, 4), &[0.0; 5]);
    let mut out = [0.0; 10];
    let out = MatrixMut::new(&mut out, 2, 5, 5);
    gemm_f32(Isa::BASELINE, Matrix::new(&[0.0; 6], 2, 3, 3), &w, 0..1, Epilogue::Store, out);
}

#[test]
#[should_panic(expected = "a part is [1, 3], the first one is [_, 2]")]
fn parts_of_different_inner_are_refused() {
    let part =
        |columns| LinearPart { weight: Matrix::new(&[0.0; 3], 1, columns, columns), bias: None, scale: 1.0 };
    let _ = PackedF32::pack(&[part(2), part(3)]);
}
