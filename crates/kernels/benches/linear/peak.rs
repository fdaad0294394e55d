//! The peak of one core for the instruction of a precision.

#[expect(clippy::wildcard_imports, reason = "intrinsics are named by their instruction")]
use std::arch::x86_64::*;
use std::hint::black_box;
use std::time::{Duration, Instant};

use kernels::isa::{Isa, Level};
use kernels::linear::Precision;

/// Independent chains: as many as the largest tile has, to hide the latency of every instruction.
const CHAINS: usize = 24;
/// Chains of sets with 16 registers.
const FEW_CHAINS: usize = 12;
/// Instructions of each chain in one run.
const STEPS: usize = 3000;

/// The highest rate within 5 ms; a multiply-add is two operations. The peak of AMX is not measured: it is that of AVX-512.
pub fn operations_per_second(isa: Isa, precision: Precision) -> f64 {
    let (multiply_adds, run): (usize, unsafe fn()) = match (isa.level(), precision) {
        (Level::Baseline, _) => (4 * FEW_CHAINS, baseline),
        (Level::Avx2, _) => (8 * FEW_CHAINS, avx2),
        (Level::Avx512Vnni | Level::Avx512Bf16 | Level::Amx, Precision::Int8) => (64 * CHAINS, vnni),
        (Level::Avx512Bf16 | Level::Amx, Precision::Bf16 | Precision::Bf16x3) => (32 * CHAINS, bf16),
        _ => (16 * CHAINS, avx512),
    };
    let (start, mut best) = (Instant::now(), Duration::MAX);
    while start.elapsed() < Duration::from_millis(5) {
        let one = Instant::now();
        // SAFETY: the value of `isa` shows that the CPU has the instructions.
        unsafe { run() };
        best = best.min(one.elapsed());
    }
    (2 * multiply_adds * STEPS) as f64 / best.as_secs_f64()
}

macro_rules! chains {
    ($chains:expr, $value:expr, $step:expr) => {{
        let (x, mut sums) = (black_box($value), black_box([$value; $chains]));
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
    chains!(FEW_CHAINS, _mm_set1_ps(0.5), |sum, x| _mm_add_ps(_mm_mul_ps(sum, x), x));
}

#[target_feature(enable = "avx2,fma")]
fn avx2() {
    chains!(FEW_CHAINS, _mm256_set1_ps(0.5), |sum, x| _mm256_fmadd_ps(sum, x, x));
}

#[target_feature(enable = "avx512f")]
fn avx512() {
    chains!(CHAINS, _mm512_set1_ps(0.5), |sum, x| _mm512_fmadd_ps(sum, x, x));
}

#[target_feature(enable = "avx512f,avx512vnni")]
fn vnni() {
    chains!(CHAINS, _mm512_set1_epi8(1), |sum, x| _mm512_dpbusd_epi32(sum, x, x));
}

#[target_feature(enable = "avx512f,avx512bf16")]
fn bf16() {
    let x = black_box(_mm512_set1_epi32(0x3f00_3f00));
    // SAFETY: both types have 64 bytes, and every bit pattern is a value.
    let x: __m512bh = unsafe { std::mem::transmute(x) };
    let mut sums = black_box([_mm512_set1_ps(0.5); CHAINS]);
    for _ in 0..STEPS {
        for sum in &mut sums {
            *sum = _mm512_dpbf16_ps(*sum, x, x);
        }
    }
    black_box(sums);
}
