//! The machine code of the blocks, interpreted, under the loops and checks of the other units.

mod executed;
mod machine;

use super::super::Terms;
use super::super::tests::case::{Bf16Case, Int8Case, Shape};
use super::super::tests::shapes::shapes;
use super::super::tiles::Scale;
use super::*;
use crate::simd::Baseline;
use machine::{Machine, Mutation};

/// The blocks of a function, interpreted instead of executed.
#[derive(Clone, Copy)]
struct Interpreted<'a> {
    functions: Functions,
    configuration: &'a Configuration,
    mutation: Option<Mutation>,
}

impl Unit for Interpreted<'_> {
    type Simd = Baseline;
    const ROWS: usize = BLOCK_ROWS;
    const VECTORS: usize = 2;

    fn simd(self) -> Baseline {
        Baseline::new()
    }

    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        Baseline::new().call(kernel)
    }

    unsafe fn sums(self, rows: usize, operands: Operands<'_>, to: *mut f32, stride: usize) {
        let mut block = Block::new(&operands, to, stride);
        if let Some(mutation) = self.mutation {
            mutation.apply(&mut block);
        }
        let function = self.functions.of(rows);
        // SAFETY: as the caller promises; the function has the machine code of a block.
        unsafe { Machine::new(self.configuration, self.mutation).run(function, &raw const block) };
    }
}

/// Computes a product as [`Amx::compute`] does.
fn compute<F: Scale>(product: Product<'_, '_, F>, functions: Functions, mutation: Option<Mutation>) {
    for_each_part(product, |configuration, part| {
        // SAFETY: the product has the shapes that its format has checked.
        unsafe { part.compute(Interpreted { functions, configuration, mutation }) };
    });
}

/// Some of the shapes, as each instruction is interpreted.
fn small_shapes() -> impl Iterator<Item = Shape> {
    let small = |shape: &Shape| shape.rows * shape.columns * shape.inner <= 1 << 17;
    let blocks = [(32, 32, 128), (33, 17, 64), (48, 32, 70), (64, 33, 32), (31, 48, 96), (16, 16, 192)];
    let blocks = blocks.map(|(rows, columns, inner)| Shape { rows, columns, inner });
    shapes().filter(small).step_by(5).chain(blocks)
}

#[test]
fn interpreted_blocks_of_bf16_are_within_the_bound() {
    for shape in small_shapes() {
        for terms in [Terms::One, Terms::Two] {
            let case = Bf16Case::new(shape, terms);
            assert_eq!(
                case.check(&|product| compute(product, Functions::of_bf16(terms), None)),
                Ok(()),
                "{terms:?}"
            );
        }
    }
}

#[test]
fn interpreted_blocks_of_int8_are_equal_to_integers() {
    for shape in small_shapes() {
        assert_eq!(Int8Case::new(shape).check(&|product| compute(product, INT8, None)), Ok(()));
    }
}

/// A row of the result does not depend on the number of rows, which decides between both functions.
#[test]
fn a_row_does_not_depend_on_its_block() {
    let run = |rows| {
        let case = Bf16Case::new(Shape { rows, columns: 33, inner: 70 }, Terms::Two);
        case.run(&|product| compute(product, BF16X3, None)).unwrap()
    };
    let whole = run(37);
    for rows in 1..37 {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        assert!(bits(&run(rows)) == bits(&whole[..rows * 33]), "{rows} rows");
    }
}

/// Defects of the instructions or of their order, which the checks must report.
#[test]
fn wrong_instructions_are_reported() {
    let shape = Shape { rows: 34, columns: 33, inner: 130 };
    for mutation in Mutation::ALL {
        for terms in [Terms::One, Terms::Two] {
            let checked = Bf16Case::new(shape, terms)
                .check(&|product| compute(product, Functions::of_bf16(terms), Some(mutation)));
            assert!(checked.is_err(), "{mutation:?}: {terms:?}");
        }
        let checked = Int8Case::new(shape).check(&|product| compute(product, INT8, Some(mutation)));
        assert!(checked.is_err(), "{mutation:?}: int8");
    }
    for mutation in Mutation::OF_TWO_TERMS {
        let checked =
            Bf16Case::new(shape, Terms::Two).check(&|product| compute(product, BF16X3, Some(mutation)));
        assert!(checked.is_err(), "{mutation:?}");
    }
}

/// By the layout of `ldtilecfg`: bytes of a row in bytes 16 to 31, rows in bytes 48 to 55.
#[test]
fn the_configuration_has_the_rows_of_the_block() {
    let bytes = |rows: usize| {
        let configuration = Configuration::new(rows);
        // SAFETY: plain numbers without padding.
        let bytes: [u8; 64] = unsafe { std::mem::transmute(configuration) };
        assert_eq!((bytes[0], bytes[1]), (1, 0));
        assert_eq!(bytes[16..32], [64, 0].repeat(8));
        bytes[48..56].to_vec()
    };
    assert_eq!(bytes(96), [16, 16, 16, 16, 16, 16, 16, 16]);
    assert_eq!(bytes(19), [16, 16, 3, 3, 16, 3, 16, 16]);
    assert_eq!(bytes(5)[..2], [5, 5]);
    assert_eq!(bytes(5)[4], 5);
}
