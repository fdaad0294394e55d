//! Results that must be equal bit for bit.

use super::case::{Case, values};
use super::*;
use crate::activation::{self, Activation};

/// Bits of a product without gaps between rows.
fn product(isa: Isa, x: Matrix<'_, f32>, w: &PackedF32, epilogue: Epilogue, before: f32) -> Vec<u32> {
    let mut out = vec![before; x.rows() * w.columns()];
    let view = MatrixMut::new(&mut out, x.rows(), w.columns(), w.columns());
    gemm_f32(isa, x, w, 0..w.panels(), epilogue, view);
    bits(&out)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_row_does_not_depend_on_the_number_of_rows() {
    let case = Case::new(38, 49, 100, 3);
    let w = pack(case.weight(), case.bias());
    for isa in Isa::available() {
        let whole = product(*isa, case.x(), &w, Epilogue::Gelu, 0.0);
        for count in 1..=25 {
            for first in [0, 5, 13] {
                let x = case.x().part(first..first + count, 0..case.inner);
                let some = product(*isa, x, &w, Epilogue::Gelu, 0.0);
                assert!(some == whole[first * 49..][..count * 49], "{isa}: {count} rows from {first}");
            }
        }
    }
}

#[test]
fn a_column_does_not_depend_on_the_division_of_panels() {
    let case = Case::new(14, 100, 65, 0);
    let w = pack(case.weight(), case.bias());
    for isa in Isa::available() {
        let whole = product(*isa, case.x(), &w, Epilogue::Silu, 0.0);
        for first in 0..=w.panels() {
            for second in first..=w.panels() {
                let mut out = vec![0.0; 14 * 100];
                let (left, rest) =
                    MatrixMut::new(&mut out, 14, 100, 100).split_columns((first * 16).min(100));
                let (middle, right) = rest.split_columns((second * 16).min(100) - (first * 16).min(100));
                gemm_f32(*isa, case.x(), &w, 0..first, Epilogue::Silu, left);
                gemm_f32(*isa, case.x(), &w, first..second, Epilogue::Silu, middle);
                gemm_f32(*isa, case.x(), &w, second..w.panels(), Epilogue::Silu, right);
                assert!(bits(&out) == whole, "{isa}: divided at {first} and {second}");
            }
        }
    }
}

#[test]
fn sets_with_fma_have_equal_bits() {
    let epilogues = [Epilogue::Store, Epilogue::AddTo, Epilogue::Gelu, Epilogue::GeluTanh, Epilogue::Silu];
    let case = Case::new(25, 65, 384, 0);
    let w = pack(case.weight(), case.bias());
    for epilogue in epilogues {
        let mut results = sets_with_fma().map(|isa| (isa, product(isa, case.x(), &w, epilogue, 0.5)));
        let Some((first, expected)) = results.next() else { return };
        for (isa, found) in results {
            assert!(found == expected, "{epilogue:?}: {first} and {isa} differ");
        }
    }
}

#[test]
fn an_epilogue_is_a_function_of_the_stored_sum() {
    let case = Case::new(25, 37, 20, 0);
    let w = pack(case.weight(), case.bias());
    for isa in Isa::available() {
        let sums: Vec<f32> =
            product(*isa, case.x(), &w, Epilogue::Store, 0.0).into_iter().map(f32::from_bits).collect();
        let added: Vec<f32> = sums.iter().map(|sum| 0.37 + sum).collect();
        assert!(product(*isa, case.x(), &w, Epilogue::AddTo, 0.37) == bits(&added), "{isa}: AddTo");
        for (epilogue, activation) in [
            (Epilogue::Gelu, Activation::Gelu),
            (Epilogue::GeluTanh, Activation::GeluTanh),
            (Epilogue::Silu, Activation::Silu),
        ] {
            let mut expected = sums.clone();
            activation::apply(*isa, activation, &mut expected);
            assert!(product(*isa, case.x(), &w, epilogue, 0.0) == bits(&expected), "{isa}: {epilogue:?}");
        }
    }
}

#[test]
fn unpacked_products_equal_packed_ones() {
    for (rows, columns, inner) in [(1, 32, 34), (34, 64, 34), (13, 23, 130), (40, 5, 7)] {
        let case = Case::new(rows, columns, inner, 3);
        let w = pack(case.weight(), &vec![0.0; columns]);
        let of_k = |k: usize| {
            values(k as u64, 4)
                .into_iter()
                .chain((0..columns).map(move |c| (c, k)).map(|(c, k)| case.weight().row(c)[k]))
        };
        let stride = columns + 4;
        let b: Vec<f32> = (0..inner).flat_map(of_k).collect();
        for isa in Isa::available() {
            let mut out = vec![0.0; rows * columns];
            let view = MatrixMut::new(&mut out, rows, columns, columns);
            gemm_unpacked(*isa, case.x(), Matrix::new(&b[4..], inner, columns, stride), view);
            assert!(bits(&out) == product(*isa, case.x(), &w, Epilogue::Store, 0.0), "{isa}: {case}");
        }
    }
}

/// Query, key and value of a layer: parts that do not end at panels, one with a scale, one without a bias.
#[test]
fn parts_are_adjacent_columns() {
    let (x, query, key) = (Case::new(5, 1, 48, 0), Case::new(1, 17, 48, 2), Case::new(1, 30, 48, 0));
    let scaled = LinearPart { weight: query.weight(), bias: Some(query.bias()), scale: 0.25 };
    let plain = LinearPart { weight: key.weight(), bias: None, scale: 1.0 };
    let together = PackedF32::pack(&[scaled, plain]).unwrap();
    assert_eq!((together.columns(), together.inner(), together.panels()), (47, 48, 3));
    assert!(together.bytes() >= 3 * 16 * 49 * 4);
    for isa in Isa::available() {
        let found = product(*isa, x.x(), &together, Epilogue::Store, 0.0);
        for (part, first) in [(scaled, 0), (plain, 17)] {
            let columns = part.weight.rows();
            let alone = product(*isa, x.x(), &PackedF32::pack(&[part]).unwrap(), Epilogue::Store, 0.0);
            for row in 0..5 {
                assert!(found[row * 47 + first..][..columns] == alone[row * columns..][..columns], "{isa}");
            }
        }
        let unscaled = product(*isa, x.x(), &pack(query.weight(), query.bias()), Epilogue::Store, 0.0);
        assert_eq!(f32::from_bits(found[0]), 0.25 * f32::from_bits(unscaled[0]), "{isa}");
    }
}
