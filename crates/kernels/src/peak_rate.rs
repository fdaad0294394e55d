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

/// Operations per second of all threads together, over `duration`; those of tiles with AMX. `None`: the instruction set lacks the
/// instruction.
pub fn peak_rate(isa: Isa, operation: Operation, threads: usize, duration: Duration) -> Option<f64> {
    if isa.level() < operation.level() {
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
        Operation::Bf16 if isa.level() == Level::Amx => {
            // SAFETY: the value of `isa` shows that the CPU has the instructions and the kernel enabled them.
            unsafe { tiles::dot_bf16() }
        }
        #[cfg(target_arch = "x86_64")]
        Operation::Int8 if isa.level() == Level::Amx => {
            // SAFETY: as above.
            unsafe { tiles::dot_int8() }
        }
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

/// Products of tiles in AMX.
#[cfg(target_arch = "x86_64")]
mod tiles {
    use std::arch::asm;

    /// Groups of four products of a block: 15 us at 2 GHz.
    const STEPS: usize = 512;
    /// Rows, groups of `k` and columns of a product of tiles.
    const GROUPS: usize = 16 * 16 * 16;

    /// Eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Configuration([u8; 64]);

    static CONFIGURATION: Configuration = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = 16;
            tile += 1;
        }
        Configuration(bytes)
    };

    /// A block of products with four independent sums. The `nop` between them cost nothing on a core of its own; on one that is shared by
    /// hyperthreads, products without them are slower, as in the products of layers.
    macro_rules! block {
        ($name:ident, $dot:literal, $group:literal) => {
            /// # Safety
            ///
            /// The CPU has the instructions, and the process may use the tile registers.
            pub unsafe fn $name() -> u64 {
                // SAFETY: as the caller promises; reads the configuration only, and clears the registers at the end.
                unsafe {
                    asm!(
                        "ldtilecfg [{configuration}]",
                        "2:",
                        concat!($dot, " tmm0, tmm4, tmm6"),
                        "nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop",
                        concat!($dot, " tmm1, tmm4, tmm7"),
                        "nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop",
                        concat!($dot, " tmm2, tmm5, tmm6"),
                        "nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop",
                        concat!($dot, " tmm3, tmm5, tmm7"),
                        "nop\nnop\nnop\nnop\nnop\nnop\nnop\nnop",
                        "dec {steps}",
                        "jnz 2b",
                        "tilerelease",
                        configuration = in(reg) &raw const CONFIGURATION,
                        steps = inout(reg) STEPS => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack, readonly)
                    );
                }
                (STEPS * 4 * GROUPS * $group * 2) as u64
            }
        };
    }

    block!(dot_bf16, "tdpbf16ps", 2);
    block!(dot_int8, "tdpbusd", 4);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_has_a_rate_for_its_instructions_and_none_for_others() {
        for isa in Isa::available() {
            for operation in [Operation::F32, Operation::Bf16, Operation::Int8] {
                let rate = peak_rate(*isa, operation, 2, Duration::from_micros(100));
                assert_eq!(rate.is_some(), isa.level() >= operation.level(), "{isa} {operation:?}");
                assert!(rate.is_none_or(|rate| rate > 0.0), "{isa} {operation:?}: {rate:?}");
            }
        }
    }

    /// A loop that the compiler removes has a rate that no CPU reaches.
    #[test]
    fn no_rate_exceeds_what_a_core_can_execute() {
        // Eight vectors of multiply-adds per cycle at 10 GHz, or one tile in 8 cycles.
        let has_tiles = Isa::best().level() == Level::Amx;
        let bound = |operation| match operation {
            Operation::Bf16 if has_tiles => 2048.0 * 10e9,
            Operation::Int8 if has_tiles => 4096.0 * 10e9,
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
