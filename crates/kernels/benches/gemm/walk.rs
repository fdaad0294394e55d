//! All products of a text in a small model: the weights do not fit a cache of 32 MB, so memory counts as well.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kernels::gemm::{Epilogue, PackedF32, gemm_f32};
use kernels::isa::Isa;
use kernels::matrix::{Matrix, MatrixMut};

const LAYERS: usize = 6;
/// Columns, inner and epilogue of the products of one layer.
const PRODUCTS: [(usize, usize, Epilogue); 4] = [
    (1152, 384, Epilogue::Store),
    (384, 384, Epilogue::AddTo),
    (1536, 384, Epilogue::Gelu),
    (384, 1536, Epilogue::AddTo),
];
const RUNS: usize = 20;

/// Prints the least time of the products of all layers, divided by columns between `threads` threads, which wait for each other
/// after each product.
pub fn layers_of_minilm(isa: Isa, rows: usize, threads: usize) {
    let weights: Vec<_> =
        (0..LAYERS).flat_map(|_| PRODUCTS).map(|(n, k, e)| (super::pack(n, k), e)).collect();
    let x = super::values(rows * 1536);
    let (arrived, mut best) = (AtomicUsize::new(0), Duration::MAX);
    std::thread::scope(|scope| {
        let walk = |thread| walk(isa, &weights, &x, rows, (thread, threads), &arrived);
        for thread in 1..threads {
            scope.spawn(move || walk(thread));
        }
        best = best.min(walk(0));
    });
    println!(
        "{:<44} {:>9.2}",
        format!("layers of MiniLM, {rows} rows, {threads} threads"),
        best.as_secs_f64() * 1e6
    );
}

/// The part of one thread in all runs; returns the least time of a run.
fn walk(
    isa: Isa,
    weights: &[(PackedF32, Epilogue)],
    x: &[f32],
    rows: usize,
    (thread, threads): (usize, usize),
    arrived: &AtomicUsize,
) -> Duration {
    let (mut out, mut barrier, mut best) = (vec![0.0; rows * 1536], 0, Duration::MAX);
    for _ in 0..RUNS {
        let start = Instant::now();
        for (w, epilogue) in weights {
            let panels = w.panels() * thread / threads..w.panels() * (thread + 1) / threads;
            let view = MatrixMut::new(&mut out, rows, panels.len() * 16, panels.len() * 16);
            gemm_f32(isa, Matrix::new(x, rows, w.inner(), w.inner()), w, panels, *epilogue, view);
            barrier += threads;
            arrived.fetch_add(1, Ordering::AcqRel);
            while arrived.load(Ordering::Acquire) < barrier {
                spin_loop();
            }
        }
        best = best.min(start.elapsed());
        out.fill(0.0);
    }
    best
}
