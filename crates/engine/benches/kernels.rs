//! Benchmarks of the kernels with the dimensions of MiniLM: hidden 384, inner 1536, head 32, sequences of 128 tokens.
//!
//! ```text
//! cargo bench -p engine --bench kernels               # on the host
//! cargo bench -p engine --bench kernels -- softmax    # one kernel
//! ```
//!
//! The bench compiles `src/kernels` as a module of its own and does not use the library `engine`, which links only with
//! OpenBLAS. Matrix products are therefore not measured here: `examples/throughput.rs` measures the stages of a whole
//! forward pass on the target.

#[expect(
    dead_code,
    unused_imports,
    reason = "the bench does not use all items of the module and runs no tests of it"
)]
#[path = "../src/kernels/mod.rs"]
mod kernels;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use kernels::Simd;

const HIDDEN: usize = 384;
const INNER: usize = 1536;
const TOKENS: usize = 128;

fn main() {
    divan::main();
}

/// Values from -4 to 4 in a fixed order.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37) % 257) as f32 / 32.0 - 4.0).collect()
}

#[divan::bench(args = Simd::available())]
fn gelu(bencher: Bencher, simd: Simd) {
    let input = values(TOKENS * INNER);
    bencher
        .counter(ItemsCount::new(input.len()))
        .with_inputs(|| input.clone())
        .bench_local_refs(|values| kernels::gelu(simd, black_box(values)));
}

#[divan::bench(args = Simd::available())]
fn layer_norm(bencher: Bencher, simd: Simd) {
    let input = values(TOKENS * HIDDEN);
    let (bias, weight, shift) = (values(HIDDEN), values(HIDDEN), values(HIDDEN));
    bencher.counter(ItemsCount::new(input.len())).with_inputs(|| input.clone()).bench_local_refs(|values| {
        kernels::add_bias_and_normalize(simd, black_box(values), &bias, &weight, &shift, 1e-12);
    });
}

/// One head of one sequence.
#[divan::bench(args = Simd::available())]
fn softmax(bencher: Bencher, simd: Simd) {
    let input = values(TOKENS * TOKENS);
    bencher
        .counter(ItemsCount::new(input.len()))
        .with_inputs(|| input.clone())
        .bench_local_refs(|values| kernels::softmax_rows(simd, black_box(values), TOKENS));
}

/// The keys of one sequence for attention.
#[divan::bench]
fn transpose_keys(bencher: Bencher) {
    let stride = 3 * HIDDEN + 2;
    let (input, mut out) = (values(TOKENS * stride), vec![0.0; TOKENS * HIDDEN]);
    bencher
        .counter(ItemsCount::new(out.len()))
        .bench_local(|| kernels::transpose(black_box(&input), stride, HIDDEN, black_box(&mut out)));
}

/// The vector of one text.
#[divan::bench]
fn unit_length(bencher: Bencher) {
    let input = values(HIDDEN);
    bencher
        .counter(ItemsCount::new(input.len()))
        .with_inputs(|| input.clone())
        .bench_local_refs(|vector| kernels::unit_length(black_box(vector)));
}
