//! How many operations the cores execute per second at this moment: the yardstick of benchmarks.
//!
//! Loops over registers alone, on all threads at the same time. A virtual machine can have two virtual CPUs on one core, and other
//! processes can take part of one: no file of the system reports either, and both change the rate.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::isa::{Isa, Level};
use crate::simd::{Kernel, LANES, Simd, dispatch};

/// The instruction of a loop. A multiply-add is two operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Multiply-add of f32.
    F32,
    /// Dot product of pairs of bf16 with sums in f32.
    Bf16,
    /// Dot product of quads of int8 with sums in i32.
    Int8,
}

impl Operation {
    /// The first instruction set with the instruction.
    fn level(self) -> Level {
        match self {
            Self::F32 => Level::Baseline,
            Self::Bf16 => Level::Avx512Bf16,
            Self::Int8 => Level::Avx512Vnni,
        }
    }
}

/// Steps of a block: some microseconds, between two readings of the clock.
const STEPS: usize = 4096;

/// Operations per second of all threads together, over `duration`. `None`: the instruction set lacks the instruction, or has
/// tiles, whose rate is another one.
pub fn peak_rate(isa: Isa, operation: Operation, threads: usize, duration: Duration) -> Option<f64> {
    let has_tiles = isa.level() == Level::Amx && operation != Operation::F32;
    if isa.level() < operation.level() || has_tiles {
        return None;
    }
    let start = Barrier::new(threads);
    let rate = || {
        start.wait();
        let started = Instant::now();
        let mut operations = 0;
        loop {
            operations += block(isa, operation);
            let elapsed = started.elapsed();
            if elapsed >= duration {
                return operations as f64 / elapsed.as_secs_f64();
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(rate)).collect();
        let own = rate();
        let others = others.into_iter().map(|thread| thread.join().unwrap_or(0.0));
        Some(own + others.sum::<f64>())
    })
}

/// Executes a block; returns its operations.
fn block(isa: Isa, operation: Operation) -> u64 {
    match operation {
        Operation::F32 => dispatch(isa, MultiplyAdds),
        #[cfg(target_arch = "x86_64")]
        Operation::Bf16 => {
            // SAFETY: `peak_rate` has compared the instruction set with `Operation::level`.
            unsafe { x86::dot_bf16() }
        }
        #[cfg(target_arch = "x86_64")]
        Operation::Int8 => {
            // SAFETY: as above.
            unsafe { x86::dot_int8() }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Operation::Bf16 | Operation::Int8 => 0,
    }
}

/// Multiply-adds into as many independent sums as there are registers, which hides their latency.
struct MultiplyAdds;

impl Kernel for MultiplyAdds {
    type Output = u64;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> u64 {
        match S::TILE_VECTORS {
            24.. => multiply_adds::<S, 24>(simd),
            6.. => multiply_adds::<S, 6>(simd),
            _ => multiply_adds::<S, 2>(simd),
        }
    }
}

#[inline(always)]
fn multiply_adds<S: Simd, const SUMS: usize>(simd: S) -> u64 {
    // Each step depends on the one before it, so neither of its two operations leaves the loop; the sums stay below their count.
    let (factor, summand) = (simd.splat(black_box(0.5)), simd.splat(black_box(0.5)));
    // Different starts: the compiler would compute equal sums once.
    let mut sums: [S::F32; SUMS] = std::array::from_fn(|i| simd.splat(black_box(i as f32)));
    for _ in 0..STEPS {
        for sum in &mut sums {
            *sum = simd.mul_add(*sum, factor, summand);
        }
    }
    for sum in sums {
        black_box(simd.reduce_add(sum));
    }
    (STEPS * SUMS * LANES * 2) as u64
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m512, __m512i, _mm512_cvtne2ps_pbh, _mm512_dpbf16_ps, _mm512_dpbusd_epi32, _mm512_reduce_add_epi32,
        _mm512_reduce_add_ps, _mm512_set1_epi8, _mm512_set1_epi32, _mm512_set1_ps,
    };
    use std::hint::black_box;

    use super::STEPS;

    /// Sums of a block: at least latency times throughput, 12 for `vdpbf16ps` on Zen 5.
    const SUMS: usize = 24;
    const LANES: usize = 16;

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub fn dot_bf16() -> u64 {
        let pairs = _mm512_cvtne2ps_pbh(_mm512_set1_ps(black_box(1e-3)), _mm512_set1_ps(black_box(1e-3)));
        let mut sums: [__m512; SUMS] = std::array::from_fn(|i| _mm512_set1_ps(black_box(i as f32)));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbf16_ps(*sum, pairs, pairs);
            }
        }
        for sum in sums {
            black_box(_mm512_reduce_add_ps(sum));
        }
        (STEPS * SUMS * LANES * 2 * 2) as u64
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub fn dot_int8() -> u64 {
        let quads = _mm512_set1_epi8(black_box(1));
        let mut sums: [__m512i; SUMS] = std::array::from_fn(|i| _mm512_set1_epi32(black_box(i as i32)));
        for _ in 0..STEPS {
            for sum in &mut sums {
                *sum = _mm512_dpbusd_epi32(*sum, quads, quads);
            }
        }
        for sum in sums {
            black_box(_mm512_reduce_add_epi32(sum));
        }
        (STEPS * SUMS * LANES * 4 * 2) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_has_a_rate_for_its_instructions_and_none_for_others() {
        for isa in Isa::available() {
            for operation in [Operation::F32, Operation::Bf16, Operation::Int8] {
                let rate = peak_rate(*isa, operation, 2, Duration::from_micros(100));
                let has_it = isa.level() >= operation.level()
                    && (operation == Operation::F32 || isa.level() != Level::Amx);
                assert_eq!(rate.is_some(), has_it, "{isa} {operation:?}");
                assert!(rate.is_none_or(|rate| rate > 0.0), "{isa} {operation:?}: {rate:?}");
            }
        }
    }

    /// A loop that the compiler removes has a rate that no CPU reaches.
    #[test]
    fn no_rate_exceeds_what_a_core_can_execute() {
        // Eight vectors of multiply-adds per cycle at 10 GHz.
        let bound = |operation| match operation {
            Operation::F32 => 8.0 * 32.0 * 10e9,
            Operation::Bf16 => 8.0 * 64.0 * 10e9,
            Operation::Int8 => 8.0 * 128.0 * 10e9,
        };
        for operation in [Operation::F32, Operation::Bf16, Operation::Int8] {
            if let Some(rate) = peak_rate(Isa::best(), operation, 1, Duration::from_millis(1)) {
                assert!(rate < bound(operation), "{operation:?}: {rate:e}");
            }
        }
    }
}
