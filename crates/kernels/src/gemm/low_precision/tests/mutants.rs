//! Wrong products. Each has one defect of a kind that kernels of low precision have had, and the check must report it on every
//! shape.

use super::super::Terms;
use super::super::bf16::{self, Sums};
use super::super::int8::{self, Dequantize};
use super::super::tiles::{Pass, Product};
use super::case::{Bf16Case, Int8Case, Shape};
use crate::convert::RowScale;
use crate::isa::{Isa, Level};

const SHAPES: [Shape; 4] = [
    Shape { rows: 2, columns: 17, inner: 64 },
    Shape { rows: 12, columns: 33, inner: 65 },
    Shape { rows: 13, columns: 32, inner: 33 },
    Shape { rows: 34, columns: 48, inner: 128 },
];

fn bf16(product: Product<'_, '_, Sums>) {
    bf16::compute(Isa::best(), product);
}

fn int8(product: Product<'_, '_, Dequantize<'_>>) {
    int8::compute(Isa::best(), product);
}

/// The last groups that are not padding are within the last block.
fn drops_the_last_block<F>(product: &mut Product<'_, '_, F>) {
    product.operands.groups -= 16;
}

fn skips_the_last_row<F>(product: &mut Product<'_, '_, F>) {
    product.rows.end -= 1;
}

fn repeats_the_first_panel<F>(product: &mut Product<'_, '_, F>) {
    product.operands.w_step = 0;
}

type Bf16Mutant = (&'static str, &'static dyn Fn(Product<'_, '_, Sums>));
type Int8Mutant = (&'static str, &'static dyn Fn(Product<'_, '_, Dequantize<'_>>));

const BF16: [Bf16Mutant; 4] = [
    ("drops the last block of k", &|mut product| {
        drops_the_last_block(&mut product);
        bf16(product);
    }),
    ("skips the last row", &|mut product| {
        skips_the_last_row(&mut product);
        bf16(product);
    }),
    ("repeats the first panel", &|mut product| {
        repeats_the_first_panel(&mut product);
        bf16(product);
    }),
    ("adds the bias of the first panel to all", &|mut product| {
        product.operands.start_step = 0;
        bf16(product);
    }),
];

/// With two terms only.
const BF16X3: [Bf16Mutant; 3] = [
    ("forgets the second terms of x", &|product| without_pass(product, 0)),
    ("forgets the second terms of w", &|product| without_pass(product, 1)),
    ("forgets the first terms", &|product| without_pass(product, 2)),
];

fn without_pass(product: Product<'_, '_, Sums>, missing: usize) {
    let mut passes: Vec<Pass> = product.operands.passes.to_vec();
    passes.remove(missing);
    let Product { mut operands, scale, epilogue, rows, out } = product;
    operands.passes = &passes;
    bf16::compute(with_passes(), Product { operands, scale, epilogue, rows, out });
}

/// The best set that computes the passes one after the other. The tests of AMX, which has one loop for all of them, have these defects for
/// its own operands.
fn with_passes() -> Isa {
    Isa::available().iter().copied().rfind(|isa| isa.level() != Level::Amx).unwrap()
}

const INT8: [Int8Mutant; 5] = [
    ("drops the last block of k", &|mut product| {
        drops_the_last_block(&mut product);
        int8(product);
    }),
    ("skips the last row", &|mut product| {
        skips_the_last_row(&mut product);
        int8(product);
    }),
    ("repeats the first panel", &|mut product| {
        repeats_the_first_panel(&mut product);
        int8(product);
    }),
    ("forgets the zero point", &|product| {
        with_rows(product, |row| RowScale { zero_point: 0, ..row });
    }),
    ("gives each row the same scale", &|product| {
        let scale = product.scale.rows[0].scale;
        with_rows(product, |row| RowScale { scale, ..row });
    }),
];

fn with_rows(product: Product<'_, '_, Dequantize<'_>>, change: impl Fn(RowScale) -> RowScale) {
    let rows: Vec<RowScale> = product.scale.rows.iter().map(|row| change(*row)).collect();
    let Product { operands, scale, epilogue, rows: range, out } = product;
    int8(Product { operands, scale: Dequantize { rows: &rows, ..scale }, epilogue, rows: range, out });
}

#[test]
fn wrong_products_of_bf16_are_reported_on_every_shape() {
    for shape in SHAPES {
        for (terms, mutants) in [(Terms::One, &BF16[..]), (Terms::Two, &BF16), (Terms::Two, &BF16X3)] {
            let case = Bf16Case::new(shape, terms);
            assert_eq!(case.check(&bf16), Ok(()));
            for (name, mutant) in mutants {
                assert!(case.check(mutant).is_err(), "{name}: not reported for {terms:?} of {shape:?}");
            }
        }
    }
}

#[test]
fn wrong_products_of_int8_are_reported_on_every_shape() {
    for shape in SHAPES {
        let case = Int8Case::new(shape);
        assert_eq!(case.check(&int8), Ok(()));
        for (name, mutant) in INT8 {
            assert!(case.check(mutant).is_err(), "{name}: not reported for {shape:?}");
        }
    }
}

/// Plain bf16 has 8 bits: a bound that it meets would not show that two terms have 16.
#[test]
fn one_term_is_not_as_accurate_as_two() {
    let case = Bf16Case::new(Shape { rows: 24, columns: 64, inner: 384 }, Terms::Two);
    let error = case.error_of_cosine(&|product| {
        let Product { mut operands, scale, epilogue, rows, out } = product;
        operands.passes = &operands.passes[2..];
        bf16(Product { operands, scale, epilogue, rows, out });
    });
    assert!(error > 1e-5, "{error:e}");
}
