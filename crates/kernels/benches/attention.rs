//! Speed of attention of one sequence in the shape of MiniLM (12 heads of 32 columns) and of larger models (heads of 64 and 128), as a
//! share of the peak of one core for f32 multiply-adds, which is measured before and after each row.
//!
//! ```text
//! cargo bench -p kernels --bench attention                  # all instruction sets
//! cargo bench -p kernels --bench attention -- avx512        # one set
//! ```
//!
//! Only the multiply-adds of the two products count as work, so softmax and copies reduce the share.
#![expect(clippy::print_stdout, reason = "prints its results")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::attention::{AttentionShape, attention, attention_scratch_floats};
use kernels::isa::Isa;
use kernels::matrix::{Matrix, MatrixMut};
use kernels::peak_rate::{Operation, peak_rate};

fn main() {
    // cargo passes `--bench`.
    let names: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    for isa in Isa::available() {
        if !names.is_empty() && !names.contains(&isa.to_string()) {
            continue;
        }
        println!("\n{isa}\n{:<28} {:>9} {:>9} {:>7}", "sequence", "time us", "GFLOP/s", "peak");
        for (heads, head_size) in [(12, 32), (12, 64), (8, 128)] {
            for tokens in [8, 16, 34, 69, 128, 256, 512] {
                sequence(*isa, tokens, heads, head_size);
            }
        }
    }
}

fn sequence(isa: Isa, tokens: usize, heads: usize, head_size: usize) {
    let hidden = heads * head_size;
    let shape =
        AttentionShape { heads, kv_heads: heads, head_size, query: 0, key: hidden, value: 2 * hidden };
    let qkv: Vec<f32> = (0..tokens * 3 * hidden).map(|i| ((i * 37) % 257) as f32 / 128.0 - 1.0).collect();
    let mut out = vec![0.0; tokens * hidden];
    let mut scratch = vec![0.0; attention_scratch_floats(tokens, head_size)];
    let peak = || peak_rate(isa, Operation::F32, 1, Duration::from_millis(10));
    let before = peak();
    let best = least_time(&mut || {
        let qkv = Matrix::new(black_box(&qkv), tokens, 3 * hidden, 3 * hidden);
        let out = MatrixMut::new(black_box(&mut out), tokens, hidden, hidden);
        attention(isa, &shape, qkv, 0..heads, out, &mut scratch);
    });
    let after = peak();
    let rate = (4 * tokens * tokens * hidden) as f64 / best.as_secs_f64();
    let peak = before.zip(after).map(|(before, after)| before.max(after));
    println!(
        "{:<28} {:>9.2} {:>9.1} {:>6.1}%",
        format!("{tokens} tokens, {heads} x {head_size}"),
        best.as_secs_f64() * 1e6,
        rate / 1e9,
        peak.map_or(f64::NAN, |peak| 100.0 * rate / peak)
    );
}

/// The least time of a run within 20 ms, after one run.
fn least_time(run: &mut dyn FnMut()) -> Duration {
    run();
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_millis(20) {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
    }
    best
}
