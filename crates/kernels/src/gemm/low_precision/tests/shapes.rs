//! All shapes at which a tile, a panel or a block of `k` ends, on every set.

use super::super::registers::Registers;
use super::super::{Terms, bf16, int8};
use super::case::{Bf16Case, Int8Case, Shape};
use crate::isa::Isa;
use crate::simd::{Bf16Fma, Int8Widened, Portable};

const ROWS: [usize; 23] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 24, 25, 31, 33, 34, 64, 65];
const COLUMNS: [usize; 8] = [1, 15, 16, 17, 31, 33, 64, 1154];
const INNER: [usize; 12] = [0, 1, 2, 3, 4, 31, 33, 63, 64, 65, 384, 1536];
/// Larger products are left out: the exact result takes most of the time.
const MULTIPLY_ADDS_MAX: usize = 1 << 20;

/// Each pair of columns and inner with some numbers of rows, so that each number of rows meets small and large pairs.
pub fn shapes() -> impl Iterator<Item = Shape> {
    let pairs = COLUMNS.into_iter().flat_map(|columns| INNER.map(|inner| (columns, inner)));
    let shapes = pairs.enumerate().flat_map(|(i, (columns, inner))| {
        (0..5).map(move |j| Shape { rows: ROWS[(i * 5 + j * 7) % ROWS.len()], columns, inner })
    });
    shapes.filter(|shape| shape.rows * shape.columns * shape.inner <= MULTIPLY_ADDS_MAX)
}

#[test]
fn the_shapes_have_every_number_of_rows() {
    assert!(ROWS.iter().all(|rows| shapes().any(|shape| shape.rows == *rows && shape.inner > 60)));
}

#[test]
fn products_of_bf16_are_within_the_bound_on_every_set() {
    for shape in shapes() {
        for terms in [Terms::One, Terms::Two] {
            let case = Bf16Case::new(shape, terms);
            for isa in Isa::available() {
                assert_eq!(case.check(&|product| bf16::compute(*isa, product)), Ok(()), "{isa}: {terms:?}");
            }
            // SAFETY: the case has checked the shapes.
            let arrays =
                case.check(&|product| unsafe { product.compute(Registers(Bf16Fma(Portable::new()))) });
            assert_eq!(arrays, Ok(()), "arrays: {terms:?}");
        }
    }
}

#[test]
fn products_of_int8_are_equal_to_integers_on_every_set() {
    for shape in shapes() {
        let case = Int8Case::new(shape);
        for isa in Isa::available() {
            assert_eq!(case.check(&|product| int8::compute(*isa, product)), Ok(()), "{isa}");
        }
        // SAFETY: the case has checked the shapes.
        let arrays =
            case.check(&|product| unsafe { product.compute(Registers(Int8Widened(Portable::new()))) });
        assert_eq!(arrays, Ok(()), "arrays");
    }
}

#[test]
fn two_terms_are_as_accurate_as_f32() {
    for inner in [384, 1536] {
        let case = Bf16Case::new(Shape { rows: 24, columns: 64, inner }, Terms::Two);
        for isa in Isa::available() {
            let error = case.error_of_cosine(&|product| bf16::compute(*isa, product));
            assert!(error < 1e-6, "{isa}: inner {inner}: {error:e}");
        }
    }
}
