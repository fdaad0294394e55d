//! Speed of layers in each precision as a share of the peak of one core for the instruction that they use, which is measured before
//! and after each row.
//!
//! ```text
//! cargo bench -p kernels --bench linear                     # all instruction sets
//! cargo bench -p kernels --bench linear -- avx512-bf16      # one set
//! ```
//!
//! The shapes are those of MiniLM (hidden 384, inner 1536). A multiply-add counts as two operations in every precision; of bf16x3, one
//! of the three products counts. Sets without an instruction for a precision are compared with their multiply-adds of f32. A row whose two
//! peaks differ by more than 5 % says so: another process used the core, or the core shares its units with another one.
#![expect(clippy::print_stdout, reason = "prints its results")]

mod peak;

use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::convert::{RowScale, bf16_from_f32, f16_to_f32, quantize_rows, round_rows};
use kernels::gemm::{Epilogue, LinearPart};
use kernels::isa::Isa;
use kernels::linear::{Linear, Operand, Precision};
use kernels::matrix::{Matrix, MatrixMut};
use kernels::peak_rate::Operation;

fn main() {
    // cargo passes `--bench`.
    let names: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for isa in Isa::available() {
        if !names.is_empty() && !names.contains(&isa.to_string()) {
            continue;
        }
        println!("\n{isa}\n{:<40} {:>9} {:>9} {:>6}", "product", "time us", "Gop/s", "peak");
        for precision in [Precision::F32, Precision::Bf16, Precision::Bf16x3, Precision::Int8] {
            for (columns, inner, epilogue) in
                [(1152, 384, Epilogue::Store), (1536, 384, Epilogue::Gelu), (384, 1536, Epilogue::AddTo)]
            {
                for rows in [1, 34, 64, 256] {
                    layer(*isa, precision, [rows, columns, inner], epilogue);
                }
            }
        }
        conversions(*isa);
    }
}

/// Values in a fixed order.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * 37) % 257) as f32 / 128.0 - 1.0).collect()
}

fn layer(isa: Isa, precision: Precision, shape: [usize; 3], epilogue: Epilogue) {
    let [rows, columns, inner] = shape;
    let (weight, bias, x) = (values(columns * inner), values(columns), values(rows * inner));
    let part =
        LinearPart { weight: Matrix::new(&weight, columns, inner, inner), bias: Some(&bias), scale: 1.0 };
    let layer = Linear::pack(isa, precision, &[part]).expect("memory for the weights");
    let (mut operand, mut out) = (Operand::default(), vec![0.0; rows * columns]);
    let x = Matrix::new(&x, rows, inner, inner);
    let input = operand.prepare(isa, precision, x).expect("memory for the rows");
    let before = peak::operations_per_second(isa, operation(precision));
    let best = best_of(&mut || {
        let view = MatrixMut::new(black_box(&mut out), rows, columns, columns);
        layer.apply(input, 0..layer.panels(), epilogue, view);
        // Sums do not grow without end.
        black_box(&mut out)[0] = 0.0;
    });
    let after = peak::operations_per_second(isa, operation(precision));
    let rate = 2.0 * (rows * columns * inner) as f64 / best.as_secs_f64();
    println!(
        "{:<40} {:>9.2} {:>9.1} {:>5.1}%{}",
        format!("{precision:?} {rows} x {columns} x {inner} {epilogue:?}"),
        best.as_secs_f64() * 1e6,
        rate / 1e9,
        100.0 * rate / before.max(after),
        if before.min(after) < 0.95 * before.max(after) { "  peak not steady" } else { "" }
    );
}

/// The operation that computes products of a precision where the set has it.
fn operation(precision: Precision) -> Operation {
    match precision {
        Precision::F32 => Operation::F32,
        Precision::Bf16 | Precision::Bf16x3 => Operation::Bf16,
        Precision::Int8 => Operation::Int8,
    }
}

/// Conversions of a block of activations, and of a tensor of weights.
fn conversions(isa: Isa) {
    let (rows, inner) = (64, 384);
    let x = values(rows * inner);
    let x = Matrix::new(&x, rows, inner, inner);
    let (mut bf16, mut bytes) = (vec![0u16; rows * inner], vec![0u8; rows * inner]);
    let (mut scales, mut f32s) = (vec![RowScale::default(); rows], vec![0.0; rows * inner]);
    let per_element = |name: &str, time: Duration| {
        println!("{name:<40} {:>9.2} us for 64 x 384", time.as_secs_f64() * 1e6);
    };
    let time = best_of(&mut || round_rows(isa, x, MatrixMut::new(black_box(&mut bf16), rows, inner, inner)));
    per_element("f32 to bf16, rows", time);
    let time = best_of(&mut || {
        let to = MatrixMut::new(black_box(&mut bytes), rows, inner, inner);
        quantize_rows(isa, x, to, &mut scales);
    });
    per_element("f32 to int8, rows", time);
    let time = best_of(&mut || f16_to_f32(isa, &bf16, black_box(&mut f32s)));
    per_element("f16 to f32", time);
    let time = best_of(&mut || bf16_from_f32(isa, &f32s, black_box(&mut bf16)));
    per_element("f32 to bf16", time);
}

/// The least time of a run within 20 ms. Runs of less than 10 us are timed together.
fn best_of(run: &mut dyn FnMut()) -> Duration {
    let timed = |repeat: u32, run: &mut dyn FnMut()| {
        let start = Instant::now();
        (0..repeat).for_each(|_| run());
        start.elapsed() / repeat
    };
    timed(1, run);
    let repeat = 10_000 / timed(1, run).as_nanos().clamp(1, 10_000) as u32;
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_millis(20) {
        best = best.min(timed(repeat, run));
    }
    best
}
