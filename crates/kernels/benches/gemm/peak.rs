//! The multiply-add peak of one core.

use std::arch::x86_64::{
    _mm_add_ps, _mm_mul_ps, _mm_set1_ps, _mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps,
};
use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::isa::{Isa, Level};

/// Independent chains: more than latency times throughput of any CPU, and few enough for the registers.
const CHAINS: usize = 12;
/// Multiply-adds of each chain in one run: about 10 us.
const STEPS: usize = 6000;

/// The highest rate within 5 ms. The baseline multiplies and adds in two instructions.
pub fn flop_per_second(isa: Isa) -> f64 {
    let (lanes, run): (usize, unsafe fn()) = match isa.level() {
        Level::Baseline => (4, baseline),
        Level::Avx2 => (8, avx2),
        _ => (16, avx512),
    };
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_millis(5) {
        let one = Instant::now();
        // SAFETY: the value of `isa` shows that the CPU has the instructions.
        unsafe { run() };
        best = best.min(one.elapsed());
    }
    (2 * lanes * CHAINS * STEPS) as f64 / best.as_secs_f64()
}

macro_rules! chains {
    ($value:expr, $step:expr) => {{
        let (x, mut sums) = (black_box($value), black_box([$value; CHAINS]));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = $step(*sum, x);
            }
        }
        black_box(sums);
    }};
}

#[target_feature(enable = "sse2")]
fn baseline() {
    chains!(_mm_set1_ps(0.5), |sum, x| _mm_add_ps(_mm_mul_ps(sum, x), x));
}

#[target_feature(enable = "avx2,fma")]
fn avx2() {
    chains!(_mm256_set1_ps(0.5), |sum, x| _mm256_fmadd_ps(sum, x, x));
}

#[target_feature(enable = "avx512f")]
fn avx512() {
    chains!(_mm512_set1_ps(0.5), |sum, x| _mm512_fmadd_ps(sum, x, x));
}
