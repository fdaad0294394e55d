//! The peak of one core for an operation, as the yardstick of a row.

use std::time::Duration;

use kernels::isa::{Isa, Level};
use kernels::peak_rate::{Operation, peak_rate};

/// Of these measurements the best counts: a thread that is interrupted in one is not in all.
const MEASUREMENTS: usize = 25;
const DURATION: Duration = Duration::from_micros(200);

/// Operations per second. A set without an instruction for the operation has its multiply-adds of f32 as yardstick, and AMX, whose
/// tiles are not measured, has the instructions of AVX-512.
pub fn operations_per_second(isa: Isa, operation: Operation) -> f64 {
    let isa = if isa.level() == Level::Amx { Isa::of_level(Level::Avx512Bf16).unwrap_or(isa) } else { isa };
    let measured = |operation| peak_rate(isa, operation, 1, DURATION);
    let rates = (0..MEASUREMENTS).filter_map(|_| measured(operation).or_else(|| measured(Operation::F32)));
    rates.fold(0.0, f64::max)
}
