//! Wrong products. Each has one defect of a kind that GEMM kernels have had, and the check must report it on every shape.

use super::case::{Case, Product};
use super::*;

/// The product that the mutants change.
fn correct(x: Matrix<'_, f32>, weight: Matrix<'_, f32>, bias: &[f32], out: MatrixMut<'_, f32>) {
    let w = pack(weight, bias);
    gemm_f32(Isa::best(), x, &w, 0..w.panels(), Epilogue::Store, out);
}

fn drops_the_last_k(x: Matrix<'_, f32>, weight: Matrix<'_, f32>, bias: &[f32], out: MatrixMut<'_, f32>) {
    let inner = 0..x.columns() - 1;
    let weight = weight.part(0..weight.rows(), inner.clone());
    correct(x.part(0..x.rows(), inner), weight, bias, out);
}

fn swaps_two_columns(x: Matrix<'_, f32>, weight: Matrix<'_, f32>, bias: &[f32], mut out: MatrixMut<'_, f32>) {
    correct(x, weight, bias, out.reborrow());
    let last = out.columns() - 1;
    for row in 0..out.rows() {
        out.row_mut(row).swap(last - 1, last);
    }
}

fn skips_the_last_row(
    x: Matrix<'_, f32>,
    weight: Matrix<'_, f32>,
    bias: &[f32],
    mut out: MatrixMut<'_, f32>,
) {
    let rows = 0..x.rows() - 1;
    correct(x.part(rows.clone(), 0..x.columns()), weight, bias, out.rows_mut(rows));
}

fn forgets_the_bias_of_the_last_panel(
    x: Matrix<'_, f32>,
    weight: Matrix<'_, f32>,
    bias: &[f32],
    out: MatrixMut<'_, f32>,
) {
    let mut bias = bias.to_vec();
    let last_panel = (bias.len() - 1) / 16 * 16;
    bias[last_panel..].fill(0.0);
    correct(x, weight, &bias, out);
}

fn writes_a_whole_last_vector(
    x: Matrix<'_, f32>,
    weight: Matrix<'_, f32>,
    bias: &[f32],
    mut out: MatrixMut<'_, f32>,
) {
    correct(x, weight, bias, out.reborrow());
    let after = out.as_mut_ptr().wrapping_add(out.columns());
    // SAFETY: the cases have two rows at least and a gap between them.
    unsafe { after.write(0.0) };
}

#[test]
fn wrong_products_are_reported_on_every_shape() {
    let mutants: [(&str, Product<'_>); 5] = [
        ("drops the last k", &drops_the_last_k),
        ("swaps two columns", &swaps_two_columns),
        ("skips the last row", &skips_the_last_row),
        ("forgets the bias of the last panel", &forgets_the_bias_of_the_last_panel),
        ("writes a whole last vector", &writes_a_whole_last_vector),
    ];
    for (rows, columns, inner) in [(2, 2, 1), (12, 31, 33), (13, 33, 384), (34, 48, 1536)] {
        let case = Case::new(rows, columns, inner, 3);
        assert_eq!(case.check(&correct), Ok(()), "{case}");
        for (name, mutant) in mutants {
            assert!(case.check(mutant).is_err(), "{name}: not reported for {case}");
        }
    }
}
