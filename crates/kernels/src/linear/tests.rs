//! What holds in every precision, on every instruction set: independence of rows and panels, epilogues, NaN, and shared memory.

use super::*;
use crate::activation::{self, Activation};
use crate::gemm::tests::case::values;

const PRECISIONS: [Precision; 4] = [Precision::F32, Precision::Bf16, Precision::Bf16x3, Precision::Int8];

/// Calls `test` for each precision on each instruction set.
fn for_each_precision(mut test: impl FnMut(Isa, Precision)) {
    for isa in Isa::available() {
        for precision in PRECISIONS {
            test(*isa, precision);
        }
    }
}

fn pack(isa: Isa, precision: Precision, columns: usize, inner: usize) -> Linear {
    let (weight, bias) = (values(2, columns * inner), values(3, columns));
    let weight = Matrix::new(&weight, columns, inner, inner);
    Linear::pack(isa, precision, &[LinearPart { weight, bias: Some(&bias), scale: 1.0 }]).unwrap()
}

/// The bits of a product, whose output is 0.5 before.
fn product(isa: Isa, layer: &Linear, x: &[f32], epilogue: Epilogue) -> Vec<u32> {
    let (rows, columns) = (x.len() / layer.inner(), layer.columns());
    let (mut operand, mut out) = (Operand::default(), vec![0.5; rows * columns]);
    let x = Matrix::new(x, rows, layer.inner(), layer.inner());
    let input = operand.prepare(isa, layer.precision(), x).unwrap();
    layer.apply(input, 0..layer.panels(), epilogue, MatrixMut::new(&mut out, rows, columns, columns));
    bits(&out)
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_row_does_not_depend_on_the_number_of_rows() {
    let (columns, inner, x) = (49, 70, values(1, 38 * 70));
    for_each_precision(|isa, precision| {
        let layer = pack(isa, precision, columns, inner);
        let whole = product(isa, &layer, &x, Epilogue::Gelu);
        for count in 1..=25 {
            for first in [0, 5, 13] {
                let some = product(isa, &layer, &x[first * inner..][..count * inner], Epilogue::Gelu);
                let expected = &whole[first * columns..][..count * columns];
                assert!(some == expected, "{isa}: {precision:?}: {count} rows from {first}");
            }
        }
    });
}

#[test]
fn a_column_does_not_depend_on_the_division_of_panels() {
    let (rows, columns, inner, x) = (14, 100, 65, values(1, 14 * 65));
    for_each_precision(|isa, precision| {
        let layer = pack(isa, precision, columns, inner);
        let whole = product(isa, &layer, &x, Epilogue::AddTo);
        let mut operand = Operand::default();
        let input = operand.prepare(isa, precision, Matrix::new(&x, rows, inner, inner)).unwrap();
        for division in 0..=layer.panels() {
            let mut out = vec![0.5; rows * columns];
            let view = MatrixMut::new(&mut out, rows, columns, columns);
            let (left, right) = view.split_columns((division * 16).min(columns));
            layer.apply(input, 0..division, Epilogue::AddTo, left);
            layer.apply(input, division..layer.panels(), Epilogue::AddTo, right);
            assert!(bits(&out) == whole, "{isa}: {precision:?}: divided at {division}");
        }
    });
}

#[test]
fn an_epilogue_is_a_function_of_the_stored_sum() {
    let x = values(1, 25 * 40);
    for_each_precision(|isa, precision| {
        let layer = pack(isa, precision, 37, 40);
        let sums: Vec<f32> =
            product(isa, &layer, &x, Epilogue::Store).into_iter().map(f32::from_bits).collect();
        let added: Vec<f32> = sums.iter().map(|sum| 0.5 + sum).collect();
        assert!(product(isa, &layer, &x, Epilogue::AddTo) == bits(&added), "{isa}: {precision:?}: AddTo");
        for (epilogue, activation) in [
            (Epilogue::Gelu, Activation::Gelu),
            (Epilogue::GeluTanh, Activation::GeluTanh),
            (Epilogue::Silu, Activation::Silu),
        ] {
            let mut expected = sums.clone();
            activation::apply(isa, activation, &mut expected);
            let found = product(isa, &layer, &x, epilogue);
            assert!(found == bits(&expected), "{isa}: {precision:?}: {epilogue:?}");
        }
    });
}

#[test]
fn values_that_are_not_finite_stay_in_their_row() {
    for_each_precision(|isa, precision| {
        let layer = pack(isa, precision, 33, 40);
        for value in [f32::NAN, f32::INFINITY] {
            for row in 0..25 {
                let mut x = values(1, 25 * 40);
                x[row * 40 + 7] = value;
                for (i, bits) in product(isa, &layer, &x, Epilogue::Store).into_iter().enumerate() {
                    let finite = f32::from_bits(bits).is_finite();
                    assert_eq!(
                        finite,
                        i / 33 != row,
                        "{isa}: {precision:?}: element {i}, {value} in row {row}"
                    );
                }
            }
        }
    });
}

#[test]
fn int8_has_equal_bits_on_all_sets() {
    let x = values(1, 25 * 384);
    let on = |isa| product(isa, &pack(isa, Precision::Int8, 65, 384), &x, Epilogue::AddTo);
    for isa in Isa::available() {
        assert!(on(*isa) == on(Isa::BASELINE), "{isa}");
    }
}

/// Query, key and value of a layer: parts that do not end at panels, one with a scale, one without a bias.
#[test]
fn parts_are_adjacent_columns() {
    let (query, key, bias, x) = (values(5, 17 * 48), values(6, 30 * 48), values(7, 17), values(1, 5 * 48));
    let query = LinearPart { weight: Matrix::new(&query, 17, 48, 48), bias: Some(&bias), scale: 0.25 };
    let key = LinearPart { weight: Matrix::new(&key, 30, 48, 48), bias: None, scale: 1.0 };
    for_each_precision(|isa, precision| {
        let together = Linear::pack(isa, precision, &[query, key]).unwrap();
        assert_eq!((together.columns(), together.inner(), together.panels()), (47, 48, 3));
        let found = product(isa, &together, &x, Epilogue::Store);
        for (part, first) in [(query, 0), (key, 17)] {
            let alone = Linear::pack(isa, precision, &[part]).unwrap();
            let expected = product(isa, &alone, &x, Epilogue::Store);
            for (found, expected) in found.chunks(47).zip(expected.chunks(alone.columns())) {
                assert_eq!(found[first..][..alone.columns()], *expected, "{isa}: {precision:?}");
            }
        }
    });
}

#[test]
fn memory_is_what_is_announced_and_is_reused() {
    for precision in PRECISIONS {
        let mut operand = Operand::new(precision, 34, 2048).unwrap();
        let bytes = |o: &Operand| o.bf16.bytes() + o.int8.bytes() + size_of_val(&*o.scales);
        assert_eq!(bytes(&operand), Operand::bytes_for(precision, 34, 2048), "{precision:?}");
        let before = (operand.bf16.as_ptr(), operand.int8.as_ptr(), operand.scales.as_ptr());
        for (rows, inner) in [(3, 384), (34, 2048), (34, 1)] {
            let x = values(1, rows * inner);
            operand.prepare(Isa::best(), precision, Matrix::new(&x, rows, inner, inner)).unwrap();
        }
        let after = (operand.bf16.as_ptr(), operand.int8.as_ptr(), operand.scales.as_ptr());
        assert_eq!(before, after, "{precision:?}");
    }
    let bytes = PRECISIONS.map(|precision| pack(Isa::BASELINE, precision, 384, 1536).bytes());
    assert!(bytes[1] < bytes[0] / 2 + 8192 && bytes[3] < bytes[0] / 4 + 16384, "{bytes:?}");
}

#[test]
#[should_panic(expected = "rows in Bf16 for a layer in Int8")]
fn an_input_of_another_precision_is_refused() {
    let (layer, mut operand) = (pack(Isa::BASELINE, Precision::Int8, 16, 8), Operand::default());
    let input = operand.prepare(Isa::BASELINE, Precision::Bf16, Matrix::new(&[0.0; 8], 1, 8, 8)).unwrap();
    layer.apply(input, 0..1, Epilogue::Store, MatrixMut::new(&mut [0.0; 16], 1, 16, 16));
}

#[test]
#[should_panic(expected = "[1, 32] times 16 columns of 64 elements into [1, 16]")]
fn rows_of_another_length_are_refused() {
    let (layer, mut operand) = (pack(Isa::BASELINE, Precision::Bf16, 16, 40), Operand::default());
    let input = operand.prepare(Isa::BASELINE, Precision::Bf16, Matrix::new(&[0.0; 8], 1, 8, 8)).unwrap();
    layer.apply(input, 0..1, Epilogue::Store, MatrixMut::new(&mut [0.0; 16], 1, 16, 16));
}

fn int8_of_ones(isa: Isa, inner: usize) -> io::Result<Linear> {
    let ones = vec![1.0; inner];
    let part = LinearPart { weight: Matrix::new(&ones, 1, inner, inner), bias: None, scale: 1.0 };
    Linear::pack(isa, Precision::Int8, &[part])
}

/// All bytes have the largest values: instructions that saturate sums of 16 bits give less.
#[test]
fn the_largest_sums_of_int8_are_exact() {
    let inner = 66_311;
    let sum = 255 * 127 * i32::try_from(inner).unwrap();
    let expected = sum as f32 * (1.0 / 255.0 * (1.0 / 127.0));
    for isa in Isa::available() {
        let found = product(*isa, &int8_of_ones(*isa, inner).unwrap(), &vec![1.0; inner], Epilogue::Store);
        assert_eq!(found, [expected.to_bits()], "{isa}");
    }
}

#[test]
fn int8_refuses_sums_that_could_overflow() {
    let error = int8_of_ones(Isa::BASELINE, 66_312).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    assert_eq!(error.to_string(), "int8 products are exact up to 66311 terms, not 66312");
}
