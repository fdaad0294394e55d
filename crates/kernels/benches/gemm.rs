//! Speed of products as a share of the multiply-add peak of one core, which is measured before and after each row.
//!
//! ```text
//! cargo bench -p kernels --bench gemm            # all instruction sets
//! cargo bench -p kernels --bench gemm -- avx512  # one set
//! ```
//!
//! The shapes are those of MiniLM (hidden 384, inner 1536). A row whose two peaks differ by more than 5 % says so: another
//! process used the core, or the core shares its units with another one.
#![expect(clippy::print_stdout, reason = "prints its results")]

mod peak;
#[path = "gemm/walk.rs"]
mod walk;

use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::gemm::{Epilogue, LinearPart, PackedF32, gemm_f32, gemm_unpacked};
use kernels::isa::{Isa, Level};
use kernels::matrix::{Matrix, MatrixMut};
use kernels::peak_rate::Operation;

fn main() {
    // cargo passes `--bench`.
    let names: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for level in [Level::Avx512, Level::Avx2, Level::Baseline] {
        let Ok(isa) = Isa::of_level(level) else { continue };
        if !names.is_empty() && !names.contains(&isa.to_string()) {
            continue;
        }
        println!("\n{isa}\n{:<44} {:>9} {:>9} {:>6}", "product", "time us", "GFLOP/s", "peak");
        for (columns, inner) in [(1536, 384), (384, 1536), (1152, 384)] {
            for rows in [1, 8, 34, 64, 256] {
                packed(isa, [rows, columns, inner], inner, Epilogue::Store);
            }
        }
        packed(isa, [64, 1536, 384], 384, Epilogue::Gelu);
        packed(isa, [64, 384, 1536], 1536, Epilogue::AddTo);
        // Rows whose distance is a multiple of 4 KiB share a set of L1; 16 floats more avoid it.
        packed(isa, [64, 1024, 1024], 1024, Epilogue::Store);
        packed(isa, [64, 1024, 1024], 1024 + 16, Epilogue::Store);
        packed(isa, [64, 1024, 4096], 4096, Epilogue::Store);
        packed(isa, [64, 1024, 4096], 4096 + 16, Epilogue::Store);
        unpacked(isa, [34, 32, 34]);
        unpacked(isa, [128, 32, 128]);
        unpacked(isa, [128, 64, 128]);
        for threads in [1, 2] {
            walk::layers_of_minilm(isa, 34, threads);
        }
    }
}

/// Values in a fixed order.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37) % 257) as f32 / 128.0 - 1.0).collect()
}

fn pack(columns: usize, inner: usize) -> PackedF32 {
    let (weight, bias) = (values(columns * inner), values(columns));
    let weight = Matrix::new(&weight, columns, inner, inner);
    PackedF32::pack(&[LinearPart { weight, bias: Some(&bias), scale: 1.0 }]).expect("memory for the weights")
}

/// Measures a product with packed weights; `stride` is that of the activations.
fn packed(isa: Isa, shape: [usize; 3], stride: usize, epilogue: Epilogue) {
    let [rows, columns, inner] = shape;
    let (w, x, mut out) = (pack(columns, inner), values(rows * stride), vec![0.0; rows * columns]);
    let name = format!("{rows} x {columns} x {inner} {epilogue:?}");
    let name = if stride == inner { name } else { format!("{name}, stride {stride}") };
    measure(isa, &name, shape, || {
        let view = MatrixMut::new(black_box(&mut out), rows, columns, columns);
        gemm_f32(isa, Matrix::new(&x, rows, inner, stride), &w, 0..w.panels(), epilogue, view);
        if epilogue == Epilogue::AddTo {
            // Sums do not grow without end.
            black_box(&mut out)[0] = 0.0;
        }
    });
}

/// Measures a product of two row-major matrices.
fn unpacked(isa: Isa, shape: [usize; 3]) {
    let [rows, columns, inner] = shape;
    let (a, b, mut out) = (values(rows * inner), values(inner * columns), vec![0.0; rows * columns]);
    measure(isa, &format!("{rows} x {columns} x {inner} unpacked"), shape, || {
        let view = MatrixMut::new(black_box(&mut out), rows, columns, columns);
        gemm_unpacked(
            isa,
            Matrix::new(&a, rows, inner, inner),
            Matrix::new(&b, inner, columns, columns),
            view,
        );
    });
}

/// Prints the best time of one product.
fn measure(isa: Isa, name: &str, [rows, columns, inner]: [usize; 3], mut product: impl FnMut()) {
    let flop = 2.0 * (rows * columns * inner) as f64;
    let before = peak::operations_per_second(isa, Operation::F32);
    let best = best_of(&mut product);
    let after = peak::operations_per_second(isa, Operation::F32);
    let rate = flop / best.as_secs_f64();
    let void = if before.min(after) < 0.95 * before.max(after) { "  peak not steady" } else { "" };
    println!(
        "{name:<44} {:>9.2} {:>9.1} {:>5.1}%{void}",
        best.as_secs_f64() * 1e6,
        rate / 1e9,
        100.0 * rate / before.max(after)
    );
}

/// The least time of a run within 30 ms. Runs of less than 10 us are timed together.
fn best_of(run: &mut impl FnMut()) -> Duration {
    let timed = |repeat: u32, run: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..repeat).for_each(|_| run());
        start.elapsed() / repeat
    };
    timed(1, run);
    let repeat = 10_000 / timed(1, run).as_nanos().clamp(1, 10_000) as u32;
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_millis(30) {
        best = best.min(timed(repeat, run));
    }
    best
}
